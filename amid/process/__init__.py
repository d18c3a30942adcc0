"""What every process of the daemon has: its settings and beat, its log, run_dir, and the sockets between processes.

child     the contract with the supervisor       settings    what each child is told
run_dir   the lock, the status, the sockets      log         one line a record; log_writer writes it
pipe      what joins the broker and a reader     sending     one message on a ZeroMQ socket
acceptor  connections while descriptors last     zap         authentication of TCP peers
descriptors  how many there may be               unix_socket  how each Unix socket is bound
"""
