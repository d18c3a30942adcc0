"""The live state of one PBX as pure code: lists and events go in, changes come out.

model           things by kind and id, and their changes
channels, queues, devices, parking, conferences   the changes that events and lists cause
calls           calls, derived from channels
fold            the table of events
packets         splits what the reader publishes into the events that the fold uses
headers         finds headers in the text of an event
lists           the table of lists, and their comparison with the model
server_state    one server's state through epochs, loads and reconciliations
change_log      the last changes, for subscribers and the method `events`
query           selects things by kind and condition
"""
