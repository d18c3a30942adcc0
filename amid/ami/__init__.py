"""The Asterisk Manager Interface as pure code: bytes in, packets and answers out.

No module here knows a socket or a clock: time is an argument, and the owner moves the bytes.

parser         bytes -> packets, however the stream is split
packet         one packet: its headers, event name and ActionID
event_batch    the events of one read, kept as one block of bytes
field_parser   the headers of events, parsed by learned patterns
action         an action -> bytes, or an error that says why it cannot be sent
targets        what an action reaches in Asterisk, for the access rules; see field_readers, dialplan
catalogue      the actions whose answers have no marked end, and the quick actions
exchange       one action in flight: which packets are its answer
session        one connection: greeting, login, keep-alive
boot           whether Asterisk has loaded its modules
lane           a session that carries one action at a time, or several quick ones
trace          the packets of a session as `amid trace` shows them
"""
