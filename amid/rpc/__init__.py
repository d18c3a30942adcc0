"""Calls as pure code: how a request must look, and what becomes of every accepted call.

messages      what the broker and a reader send each other
requests      requests, checked and decoded; type_words explains what was expected
policy        the access rules
calls         every open call, from acceptance to its one reply; see open_call, server_queue, services
result        results, encoded in pieces
audit         the audit trail
zmtp          the server's end of a ZeroMQ connection; connections matches messages to connections
"""
