"""The supervisor: starts, watches and replaces the other processes. It holds no ZeroMQ and no TCP.

serve     from a configuration to a supervisor that runs     children       the children that a configuration asks for
epochs    which epochs may have been given out               child_process  a child as its parent holds it
notify    messages to systemd
"""
