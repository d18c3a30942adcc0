"""The protocol of amid on NATS: pure, without a connection or a clock.

subjects    names of subjects, streams and buckets
messages    a page of events as messages of a stream, with gaps
checkpoint  the position in a stream, read from its last message
acks        what an acknowledgement says about a group of messages
lease       which of two instances serves a server
requests    calls on subjects: expiry, rights, and the request for the broker
"""
