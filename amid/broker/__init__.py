"""The broker: takes requests from any program, hands actions to the readers, and answers every caller.

    caller_sockets      what callers connect to, and who they are       reader_links   the pipes to the readers
    connection_monitor  when callers connect and disconnect             reply_backlog  answers that callers have not read
    origin              where a request came from                       audit_log      the audit trail, in the log
    status_report       what `servers` and `status` report
"""
