"""The processes: one file each, one single-threaded loop each, moving bytes between the pure modules and the kernel.

    supervisor      starts, watches and replaces the others; holds no ZeroMQ and no TCP
      process       a child as its parent holds it        child     the child's half of that contract
      rundir        the lock, the status, the sockets     settings  what each child is told
      notify        words to systemd
    reader          one per Asterisk: owns the manager sessions
      event_session listens, and connects again           publisher the two event sockets
      lanes         the sessions that carry actions       answers   what callers get of what lanes complete
      replays       past events, a portion at a time     result_encoder large answers, a piece at a time
      link          a connection and the session on it    connection  TCP or TLS that never blocks
    broker          answers every program's requests; owns every open call
      pipe          what joins the broker and a reader    readers   the broker's ends of these
      overview      what `servers` and `status` report    caller_sockets  what callers connect to, and who they are
      reply_backlog answers that callers have not read   connection_monitor  when callers connect and disconnect
      origin        where a request came from            audit_log the audit trail, in the log
    acceptor        new connections, while there are descriptors for them
    zap             authentication of TCP peers, for the broker and for readers
    sending         one message on a ZeroMQ socket
"""
