"""What every process of the daemon has: settings, beat, log, run_dir, and the sockets between
processes.

child          the contract with the supervisor
settings       the settings of each child
loop           the event loop, clock and timers
run_dir        the lock, the status file, the sockets
log            one line per record; log_writer writes it
pipe           the connection between the broker and a reader
broker_link    the pipes of a reader or a service to the broker
sending        one message on a ZeroMQ socket
socket_reader  a ZeroMQ socket on the event loop
acceptor       accepts connections while descriptors last
descriptors    repairs missing descriptors 0 to 2
unix_socket    how each Unix socket is bound, and who its peer is
zap            authentication of TCP peers
"""
