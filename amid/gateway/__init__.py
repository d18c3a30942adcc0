"""The HTTP gateway for browsers and curl: an optional process that uses amid's own sockets like any
other client.

The gateway keeps no state that calls or events depend on. It may hang or crash; its replacement
continues the event streams of the browsers.

    gateway   the process: uvicorn, listeners, heartbeat
    app       the URL paths and their handlers
    guard     checks of every request: Host, Origin, and the security headers of every response
    access    tokens and their rights
    sessions, authentication    log-in sessions of the page; the principal of a request
    connections, quotas    limits for connections without a token and for each token
    bodies    reads request bodies within limits; detects disconnected clients
    calls     JSON-RPC over HTTP; the HTTP status of each kind of error
    fields    the fields of an action from a form or a JSON object
    hub       receives events once and delivers them to every stream
    backlog   the latest events, stored once for all streams
    catch_up  pulls events that a stream missed from the daemon, page by page
    streams   Server-Sent Events and WebSockets
    state_stream    the live state as Server-Sent Events
    recorded_calls  recorded calls over HTTP
    sample_buffer, sampler    samples of the last hour
    metrics, pbx_metrics      Prometheus metrics of amid and of the PBXs
    page/     the web page at /
"""
