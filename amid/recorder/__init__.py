"""The process `recorder`: stores the events of each server, and answers what happened in a call.

recorder     the process, and the methods that it answers; server_recorder records one server
feed         receives events from the broker
recording    makes batches of them, and knows the open calls
claim        one recorder for the files of a server
store        writes the files of a server; day_file is one of them
archive      reads these files: calls, one call, events
replay       events that the reader no longer holds
answers      the methods `calls` and `call`
retention    deletes old files
"""
