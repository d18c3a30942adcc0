"""HTTP for browsers and curl: a process that is a client of amid's own sockets like any other.

It holds no calls and no events that the daemon would miss: it can hang or die, and its successor goes on where browsers left off.

    process   starts it, and beats
    app       the paths and what is served under them
    guard     what holds for every request: hosts, origins, and the headers of every answer
    access    whose token it is, and what that may do
    sessions, authentication    the page's log-in, and who asks
    connections, quotas    the bounds on what strangers and each token may hold
    bodies    reading requests within bounds, and noticing that a client has left
    calls     requests over HTTP, and the status of each kind of error
    fields    the fields of an action: a form or a JSON object
    hub       events, read once and sent to every browser at its own pace
    backlog   the last events, kept once for all streams
    replay    what a stream missed, fetched from the daemon in small pages
    streams   Server-Sent Events and WebSockets
    metrics   what Prometheus scrapes
    page/     the page at /
"""
