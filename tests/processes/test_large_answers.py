"""Large answers delay no other call, and do not collect in the reader."""

from __future__ import annotations

from collections.abc import Callable

import zmq

from amid import wire
from amid.simulator import SimulatedPbx
from amid.simulator.model import Member
from tests.asterisk.server import Asterisk
from tests.conformance.callers import Action, Dealer
from tests.conformance.pbx import of
from tests.conftest import StartDaemon
from tests.processes.pbx import table

MEMBERS = 20_000
KEYS, VALUE = 4000, "x" * 900
ANSWERS, MAX_BYTES = 200, 450e6


def test_an_action_begins_while_a_large_answer_is_encoded(daemon_for: StartDaemon, pbx: SimulatedPbx) -> None:
    """The only lane is free again once Asterisk has answered."""
    pbx.pbx.queues["sales"].members += [Member("sales", f"Local/{n}@agents", f"Member {n}", 1.0) for n in range(MEMBERS)]
    daemon = daemon_for({"pbx1": table(pbx, lanes=1)})
    with Dealer(daemon, "json") as dealer:
        dealer.send("list", Action("QueueStatus", {"Queue": "sales"}, {"timeout": 60}))
        dealer.send("command", Action("Command", {"Command": "core show uptime"}))  # shares no lane
        command, listed = dealer.reply("command"), dealer.reply("list")
    assert command.kind == "ok" and len(listed.result["events"]) > MEMBERS
    answered_after = listed.result["elapsed"]
    assert command.seconds - answered_after < (listed.seconds - answered_after) / 2


def test_answers_do_not_collect_in_the_reader(daemon_for: StartDaemon, own_asterisk: Callable[[], Asterisk]) -> None:
    """Asterisk answers faster than the broker receives: the reader had 0.8 GB."""
    daemon = daemon_for({"pbx1": of(own_asterisk()).table})
    with Dealer(daemon) as dealer:
        dealer.carry_out(Action("DBPut", {"Family": "large", "Key": key, "Val": VALUE}) for key in range(KEYS))
    request = {"method": "action", "params": {"action": "DBGetTree", "fields": {"Family": "large"}, "raw": True, "timeout": 120}}
    with daemon.socket(zmq.DEALER) as reading:
        reading.connect(daemon.rpc)
        for number in range(ANSWERS):
            reading.send_multipart([b"", wire.pack({"id": number, **request})])
        for _ in range(ANSWERS):
            assert reading.poll(120_000), "every request is answered"
            answer = reading.recv_multipart()[1]
            assert len(answer) > KEYS * len(VALUE) or b"too many unread" in answer, "this program may get little time"
    assert daemon.peak_bytes("reader pbx1") < MAX_BYTES
