"""The processes: one file each, one single-threaded loop each, moving bytes between the pure modules and the kernel.

    supervisor  starts, watches and replaces the others; holds no ZeroMQ and no TCP
    reader      one per Asterisk server: owns the manager connections, publishes events, carries out calls
    broker      answers every program's requests; owns every open call
    child       the child's half of the contract with the supervisor
    connection  one TCP or TLS connection that never blocks
    publisher   the two event sockets of one server
"""
