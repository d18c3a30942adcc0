"""The process `bus`: publishes events to NATS JetStream and answers calls that arrive over NATS.

It is a client like any other: it pulls events and sends calls over the socket in run_dir, and opens
no listener. It keeps no state of its own. When it was killed or NATS was away, it continues behind
the last message of the stream.

    protocol/         what is sent over NATS: pure
    bus               the process: one connection at a time
    connection        a connection to NATS, used until it fails
    local_broker      the daemon's own socket for calls
    server_states     the states of the servers, polled
    server_bus        one server: its lease, and what runs while it is held
    lease_keeper      takes and renews the lease
    stream_publisher  events into the stream
    streams           creates and reads streams and buckets
    rpc_responder     calls on subjects
    announcer         ticks, and the bucket of servers
"""
