"""The server side of AMI: what Asterisk answers its clients, for the clients of amid's listener.

Pure: bytes and time go in, effects come out. Every rule follows Asterisk's code (main/manager.c of
the branches 16 and 22); tests/listener compares each exchange with real Asterisks, byte by byte.

    client_session   one client, from the greeting to the end
    request_parser   splits bytes into requests, with Asterisk's limits
    login            Challenge and Login
    user             who may log in, from where, with which rights
    users_file       reads users from a file in the format of manager.conf
    classes          the classes of events and actions: read, write, and the Events mask
    commands         the actions of an Asterisk, and the classes that each requires
    escalation       arguments that require another class than their action
    forwarding       whether an action may be sent, and how
    action_ids       amid's ActionIDs, and the clients' originals
    open_actions     actions without an answer, and the order of answers
    responses        answers of Asterisk that the listener gives itself
    failures         amid's errors as AMI answers
    event_block      the events of one read, and those that a client may see
    event_filter     filters of events; posix_regex has their regular expressions
    outbox           events of a client that wait for answers
    wait_event       the action WaitEvent
    raw_feed         detects missing events
    manager          what all sessions share
"""
