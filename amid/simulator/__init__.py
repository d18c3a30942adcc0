"""A simulated PBX that speaks AMI: for `amid demo`, and for tests where no Asterisk is installed.

It is the other side of the wire, written from what a real Asterisk 22 answers and sends, and it shares no
code with the rest of amid: a mistake in amid's reading of the protocol must not be repeated here.

    wire.py, event.py    bytes: requests in, packets and events out
    model.py, pbx.py     what there is, and the one place where it changes and says so
    tasks.py             things that take time, without a clock
    dialplan.py, dialing.py  what channels do;  traffic.py  calls that come by themselves or are asked for
    session.py, actions/ one AMI session, and what it can be asked
    server.py            the TCP port
"""

from amid.simulator.server import SimulatedPbx
from amid.simulator.session import User

__all__ = ["SimulatedPbx", "User"]
