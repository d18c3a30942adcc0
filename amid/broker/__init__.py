"""The broker: takes requests from any program, hands actions to the readers, and answers every caller.

caller_sockets      what callers connect to, and who they are       reader_links   the pipes to the readers
local_callers       the Unix socket, one turn for each Unix user    reply_backlog  answers over TCP that are not read
connection_monitor  when TCP callers connect and disconnect
origin              where a request came from                       audit_log      the audit trail, in the log
replies             sent, bounded and audited                       status_report  what `servers` and `status` report
"""
