"""The broker: takes requests from any program, gives actions to the readers, and answers every
caller.

broker              the process: requests in, replies out
caller_sockets      the sockets that callers connect to, and who is at their other end
local_callers       the Unix socket, with turns for each Unix user
connection_monitor  when TCP callers connect and disconnect
origin              where a request came from, and what is wrong with its frames
reader_links        the pipes to the readers and services
replies             replies: encoded, bounded, counted and audited
reply_backlog       unread answers over TCP
audit_log           the audit trail, in the log
status_report       the results of `servers` and `status`
"""
