"""The Asterisk Manager Interface as pure code: bytes in, packets and answers out. No socket, no clock.

parser    bytes -> packets, in whatever pieces they come
packet    one packet: its headers, its name, its ActionID
action    an action -> bytes, or a refusal before a byte leaves
catalogue the actions whose answers do not say where they end, and those that are quick
exchange  one action in flight: which packets are its answer
session   one connection: greeting, login, keep-alive
lane      a session that carries one action at a time, or several quick ones
"""
