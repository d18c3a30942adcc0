"""A simulated PBX that speaks AMI, for `amid demo` and for tests without an Asterisk.

It is written from what a real Asterisk 22 answers and sends, and shares no code with the rest of
amid, so that a misreading of the protocol is not repeated here.

    wire.py, event.py    bytes: requests in, packets and events out
    model.py, pbx.py     the state of the PBX, and the only place that changes it and reports changes
    tasks.py             activities that take time, without a clock
    dialplan.py, dialing.py  what channels do
    traffic.py           random incoming calls, and originated calls
    session.py, actions/ an AMI session and its actions
    server.py            the TCP server; command_line.py: the process
"""

from amid.simulator.server import SimulatedPbx
from amid.simulator.session import User

__all__ = ["SimulatedPbx", "User"]
