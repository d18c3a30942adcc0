"""The AMI listener for existing programs: an optional process that uses amid's own sockets like any
other client.

`amid.manager` makes the decisions; this package moves bytes for it. The process may end or hang:
its replacement listens on the same addresses, and clients log in again.

    listener           the process: clients, requests, events, configuration, report
    ports              listening sockets, TLS, and the limits on connections
    client_connection  one connection: bytes between a socket and its session
    broker_link        requests to the broker, and their answers
    raw_events         the events of a server as Asterisk sent them
    upstreams          what is known of each Asterisk: version, actions, time of its boot
"""
