"""The event stream as pure code: numbers, messages, and the buffer that requests for events read.

sequence        numbers on events, so that loss is detected
message         events as they are published
replay_buffer   the last events of a server
where           conditions on an event's headers
"""
