"""Thirteen kinds of calls, made by SIP phones on a real Asterisk.

`python -m tests.history.scenarios 22` records the events of each into `recorded/22/KIND.zst`.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from amid import wire
from amid.history.blocks import Compressor
from tests.asterisk.server import Asterisk
from tests.daemon import Daemon, eventually
from tests.history.phone import Dialog, Phone

SERVER = "pbx1"
CONFIG = Path(__file__).parent / "asterisk"
RECORDED = Path(__file__).parent / "recorded"


class Stage(NamedTuple):
    """A PBX, its three phones, and the daemon in front of it."""

    pbx: Asterisk
    daemon: Daemon
    alice: Phone
    bob: Phone
    carol: Phone

    def until_quiet(self) -> None:
        eventually(lambda: not self.daemon.action("CoreShowChannels", server=SERVER)["events"], "all calls have ended")

    def until_event(self, name: str, after: dict[str, int], times: int = 1, **fields: str) -> None:
        """Wait until the daemon has this many events of a name."""
        asked = {"server": SERVER, "after": after, "names": [name], "timeout": 0}

        def seen() -> bool:
            found = [event["fields"] for event in self.daemon.result("events", asked)["events"]]
            return len([event for event in found if fields.items() <= event.items()]) >= times

        eventually(seen, f"{times} events {name}")

    def answers(self, phone: Phone, before: dict[str, int]) -> Dialog:
        """Answer a phone once it rings and Asterisk has reported it."""
        dialog = phone.until_ringing()
        self.until_event("Newstate", before, ChannelStateDesc="Ringing", CallerIDNum=phone.user)
        dialog.answer()
        return dialog

    def now(self) -> dict[str, int]:
        page = eventually(lambda: self.daemon.result("events", {"server": SERVER, "after": None, "timeout": 0}), "a cursor")
        return {"epoch": page["epoch"], "seq": page["seq"]}


@contextmanager
def stage(pbx: Asterisk, daemon: Daemon) -> Iterator[Stage]:
    with ExitStack() as stack:
        phones = [("100", "Alice", "127.0.0.2"), ("200", "Bob", "127.0.0.3"), ("300", "Carol", "127.0.0.4")]
        opened = [stack.enter_context(Phone(*phone, pbx.sip_port)) for phone in phones]
        yield Stage(pbx, daemon, *opened)


def answered(s: Stage) -> None:
    before = s.now()
    call = s.alice.call("200")
    s.answers(s.bob, before)
    s.until_event("BridgeEnter", before, 2)
    call.hold(True)
    s.until_event("Hold", before)
    call.hold(False)
    s.until_event("Unhold", before)
    call.hang_up()


def busy(s: Stage) -> None:
    s.bob.mode = "busy"
    s.alice.call("200").until_ended()


def no_answer(s: Stage) -> None:
    s.alice.call("201").until_ended()


def voicemail(s: Stage) -> None:
    before = s.now()
    call = s.alice.call("202").until_answered()
    s.until_event("Newexten", before, Application="MinivmRecord" if s.pbx.version == "16" else "VoiceMail")
    call.hang_up()


def abandoned(s: Stage) -> None:
    before = s.now()
    call = s.alice.call("400").until_answered()
    s.until_event("Newstate", before, ChannelStateDesc="Ringing", CallerIDNum="200")
    s.until_event("AgentCalled", before)
    call.hang_up()


def blind_transfer(s: Stage) -> None:
    before = s.now()
    call = s.alice.call("200")
    bob = s.answers(s.bob, before)
    s.until_event("BridgeEnter", before, 2)
    bob.transfer("300")
    s.answers(s.carol, before)
    bob.hang_up()
    s.until_event("BridgeEnter", before, 4)
    call.hang_up()


def attended_transfer(s: Stage) -> None:
    before = s.now()
    s.alice.call("200")
    first = s.answers(s.bob, before)
    s.until_event("BridgeEnter", before, 2)
    first.hold(True)
    s.until_event("Hold", before)
    second = s.bob.call("300")
    carol = s.answers(s.carol, before)
    s.until_event("BridgeEnter", before, 4)
    first.connect_with(second.until_answered())
    s.until_event("AttendedTransfer", before)
    first.hang_up()
    second.hang_up()
    s.until_event("Hangup", before, 2)
    carol.hang_up()


def parked(s: Stage) -> None:
    before = s.now()
    call = s.alice.call("700").until_answered()
    s.until_event("ParkedCall", before)
    s.bob.call("701").until_answered()
    s.until_event("UnParkedCall", before)
    s.until_event("BridgeEnter", before, 3)
    call.hang_up()


def conference(s: Stage) -> None:
    before = s.now()
    calls = [phone.call("500").until_answered() for phone in (s.alice, s.bob, s.carol)]
    s.until_event("ConfbridgeJoin", before, 3)
    for number, call in enumerate(calls, 1):
        call.hang_up()
        s.until_event("ConfbridgeLeave", before, number)


def pickup(s: Stage) -> None:
    before = s.now()
    call = s.alice.call("200")
    s.bob.until_ringing()
    s.until_event("Newstate", before, ChannelStateDesc="Ringing", CallerIDNum="200")
    s.carol.call("820").until_answered()
    s.until_event("BridgeEnter", before, 2)
    call.until_answered().hang_up()


def forward(s: Stage) -> None:
    before = s.now()
    s.bob.mode = "300"
    call = s.alice.call("200")
    s.answers(s.carol, before)
    s.until_event("BridgeEnter", before, 4)
    call.until_answered().hang_up()


def agent_hangs_up(s: Stage) -> None:
    before = s.now()
    s.alice.call("400")
    bob = s.answers(s.bob, before)
    s.until_event("AgentConnect", before)
    s.until_event("BridgeEnter", before, 4)
    bob.hang_up()


def restarted(s: Stage) -> None:
    before = s.now()
    s.alice.call("200")
    s.answers(s.bob, before)
    s.until_event("BridgeEnter", before, 2)
    s.pbx.kill()
    s.pbx.stop()
    s.pbx.start()
    s.until_event("FullyBooted", before)


SCENARIOS: dict[str, Callable[[Stage], None]] = {
    scenario.__name__: scenario
    for scenario in (
        answered,
        busy,
        no_answer,
        voicemail,
        abandoned,
        blind_transfer,
        attended_transfer,
        parked,
        conference,
        pickup,
        forward,
        agent_hangs_up,
        restarted,
    )
}


def record(version: str) -> None:
    pbx = Asterisk(version, more=CONFIG)
    pbx.start()
    table = {"host": pbx.host, "port": pbx.port, "username": pbx.username, "secret": pbx.secret}
    with tempfile.TemporaryDirectory() as folder:
        daemon = Daemon(Path(folder), {SERVER: table}).start()
        try:
            for kind, scenario in SCENARIOS.items():
                with stage(pbx, daemon) as s:
                    after = s.now()
                    scenario(s)
                    s.until_quiet()
                events: list[dict[str, Any]] = []
                while page := pull(daemon, after):
                    events += page
                    after = {"epoch": page[-1]["epoch"], "seq": page[-1]["seq"]}
                (RECORDED / version / f"{kind}.zst").write_bytes(Compressor().compress([wire.pack(event) for event in events]))
                print(kind, len(events))
        finally:
            daemon.close()
            pbx.stop()


def pull(daemon: Daemon, after: dict[str, int]) -> list[dict[str, Any]]:
    page = daemon.result("events", {"server": SERVER, "after": after, "timeout": 0.3})
    events: list[dict[str, Any]] = page["events"]
    return events


if __name__ == "__main__":
    record(sys.argv[1])
