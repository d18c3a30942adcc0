"""The reader of one Asterisk: owns its manager connections, publishes its events, carries out its calls.

event_stream   the session that listens          publisher    numbers events and sends them
lane_pool      the sessions that carry actions   event_socket what subscribers ask for; subscribers counts their connections
manager_connection  a connection and its session answers      results and errors of calls; result_encoder encodes large ones
replays        past events, a portion at a time  tracer       what `amid trace` shows
"""
