"""The supervisor: starts, watches and replaces the other processes, without ZeroMQ and without TCP.

serve          from a configuration to a running supervisor
supervisor     the loop that watches the children
children       the children that a configuration asks for
child_process  a child's process: pipes, signals, exit
epochs         which event epochs may have been used
notify         messages to systemd
"""
