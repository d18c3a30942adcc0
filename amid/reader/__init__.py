"""The reader of one Asterisk: owns its manager connections, publishes its events, carries out its calls.

    event_session  the session that listens          publisher  numbers events and sends them; event_socket has the subscribers
    lane_pool      the sessions that carry actions   answers    results and errors of calls; result_encoder encodes large ones
    link           a connection and its session      connection TCP or TLS that never blocks
    replays        past events, a portion at a time  tracer     what `amid trace` shows
"""
