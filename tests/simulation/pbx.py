"""An Asterisk that misbehaves at random and records what it received and sent, as the judge's
witness.

Protocol, login and session are those of `amid.simulator`. An action with a header `Marker` is
answered here: each answer carries the marker of its call. Every event carries the session that it
was sent on, and its number there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from amid.simulator.actions import act
from amid.simulator.event import Event
from amid.simulator.pbx import Pbx
from amid.simulator.session import ASTERISK_22, User
from amid.simulator.session import Session as SimulatorSession
from amid.simulator.wire import Request, packet
from tests.simulation.loop import Scheduler
from tests.simulation.net import Endpoint, Network

USER = User("amid", "secret", read="system,call,user,agent,originate")
EVENTS = (("Hangup", "call"), ("Newchannel", "call"), ("UserEvent", "user"), ("QueueMemberStatus", "agent"))
BOOTED = "FullyBooted"
BOOT_S = (0.0, 0.5, 5.0)
"""Seconds from the first login to the last module."""
WRITE_TIMEOUT_S = 0.1
KINDS = {"ok": 80, "list": 10, "error": 5, "bare": 2, "slow": 4, "huge": 3, "twice": 1, "silent": 1, "foreign": 1, "close": 0.5}
"""How an action is answered, and how often. bare: an Error without ActionID, as for an action that is refused."""
HUGE_ITEMS = 1500
LATE_S = (0.005, 0.02, 0.3, 3.0, 8.0)


@dataclass(slots=True)
class Received:
    """An action that the PBX has received: how it was answered, and when; `completed`: when its OriginateResponse was sent."""

    marker: str
    action_id: str
    kind: str
    items: int
    received: float
    answered: float | None = None
    completed: float | None = None


class EventLog:
    """The events that were sent on one session, in order: the name of each, and the place of the one of this name before it.
    last: the place of the last one of each name."""

    def __init__(self, session: int) -> None:
        self.session = session
        self.names: list[str] = []
        self.befores: list[int | None] = []
        self.last: dict[str, int] = {}

    def add(self, raw: bytes) -> bytes:
        name = raw[len(b"Event: ") : raw.index(b"\r\n")].decode()
        self.befores.append(self.last.get(name))
        self.last[name] = len(self.names)
        self.names.append(name)
        return raw[:-2] + packet([("PbxSession", str(self.session)), ("PbxIndex", str(len(self.names) - 1))])


class Session(SimulatorSession):
    """held: answers that wait, to be mixed with others."""

    log: EventLog | None = None
    is_booting = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.held: list[bytes] = []

    def receive_event(self, event: Event) -> None:
        if event.name != BOOTED or not self.is_booting:
            super().receive_event(event)

    def write(self, data: bytes) -> None:
        if self.log is not None and self.user is not None and self.mask and data.startswith(b"Event: "):
            data = self.log.add(data)
        super().write(data)


class Connection:
    """One accepted connection and the session on it."""

    def __init__(self, pbx: SimulatedPbx, endpoint: Endpoint, session: Session) -> None:
        self._pbx = pbx
        self._scheduler = pbx.scheduler
        self.endpoint = endpoint
        self.session = session
        self._stuck = False
        endpoint.watch(self.work)
        self._scheduler.after(0.0, self.work)

    def work(self) -> None:
        """Read, carry out, and write, unless the PBX hangs."""
        if self._pbx.is_hung or self.endpoint.is_closed:
            return
        now = self._scheduler.wall()
        try:
            while self.session.reading and not self.session.closed and self.endpoint.is_readable:
                data = self.endpoint.recv(65536)
                if not data:
                    self.close(False)
                    return
                self.session.receive(data, now)
                self._pbx.release(self.session)
            self.session.tick(now)
            self._pbx.release(self.session)
        except OSError:
            self.close(False)
            return
        self.flush()
        if self.session.next_due < float("inf"):
            self._scheduler.after(max(0.0, self.session.next_due - now) + 1e-6, self.work)

    def flush(self) -> None:
        out = self.session.outgoing
        try:
            while out and not self.endpoint.is_closed:
                del out[: self.endpoint.send(bytes(out))]
        except BlockingIOError:
            if not self._stuck:
                self._stuck = True
                self._scheduler.after(WRITE_TIMEOUT_S, self._check_stuck)
            return
        except OSError:
            self.close(False)
            return
        self._stuck = False
        if self.session.closed:
            self.close(False)

    def _check_stuck(self) -> None:
        """Asterisk closes a session whose peer does not read."""
        if self._stuck and not self._pbx.is_hung:
            self._pbx.scheduler.decide("the PBX closes a session that is not read")
            self._pbx.note_fault()
            self.close(False)

    def close(self, is_reset: bool) -> None:
        self.session.close()
        self.endpoint.destroy(is_reset)
        if self in self._pbx.connections:
            self._pbx.connections.remove(self)


class SimulatedPbx:
    """`logs` outlives its restarts. takes_huge: whether amid takes the largest answers."""

    def __init__(self, network: Network, name: str, address: tuple[Any, ...], judge: Any, takes_huge: bool) -> None:
        self.scheduler: Scheduler = network.scheduler
        self.name = name
        self.logs: list[EventLog] = []
        self.connections: list[Connection] = []
        self.is_hung = False
        self.is_misbehaving = True
        self._network = network
        self._address = address
        self._judge = judge
        self._takes_huge = takes_huge
        self._random = self.scheduler.generator(f"pbx {name}")
        self._reorders = self._random.choice((0.0, 0.3))
        self._number = 0
        self._is_running = False
        self.start()

    # ── faults ──

    def start(self) -> None:
        if self._is_running:
            return
        self._is_running, self.is_hung = True, False
        self._pbx = Pbx(self.scheduler.wall(), self.scheduler.seed)
        boot_s = self._random.choice(BOOT_S)
        self._boots_at = self.scheduler.now + boot_s
        if boot_s:
            self.scheduler.after(boot_s, self._boot, self._pbx)
        self._network.listen(self._address, self._accept)

    def _boot(self, pbx: Pbx) -> None:
        """All modules are loaded."""
        if pbx is self._pbx and self._is_running:
            for connection in self.connections:
                connection.session.is_booting = False
            pbx.emit(BOOTED, "system", [("Status", "Fully Booted")])
            for connection in list(self.connections):
                connection.work()

    def stop(self) -> None:
        self._is_running = False
        self._network.unlisten(self._address, self._accept)
        for connection in list(self.connections):
            connection.close(self._random.random() < 0.3)

    def hang(self, seconds: float) -> None:
        self.is_hung = True
        self.scheduler.after(seconds, self.resume)

    def resume(self) -> None:
        self.is_hung = False
        for connection in list(self.connections):
            connection.work()

    def drop_one(self) -> None:
        if self.connections:
            self._random.choice(self.connections).close(self._random.random() < 0.5)

    def note_fault(self) -> None:
        self._judge.note_fault()

    def emit(self, count: int) -> None:
        """Send events to all sessions that want them."""
        for _ in range(count):
            self._number += 1
            name, kind = self._random.choice(EVENTS)
            self._pbx.emit(name, kind, [("Number", str(self._number))])
        if not self.is_hung:
            for connection in list(self.connections):
                connection.flush()

    @property
    def event_log(self) -> EventLog | None:
        """Of the session that has events on now."""
        listening = [one.session for one in self.connections if one.session.user is not None and one.session.mask]
        return listening[-1].log if listening else None

    # ── sessions ──

    def _accept(self, endpoint: Endpoint) -> None:
        session = Session(self._pbx, [USER], self._act, ASTERISK_22, "10.0.0.1/1")
        session.log = EventLog(len(self.logs))
        session.is_booting = self._boots_at > self.scheduler.now
        self.logs.append(session.log)
        self.connections.append(Connection(self, endpoint, session))

    def _act(self, session: Session, request: Request) -> None:
        marker = request.get("Marker")
        if session.is_booting and marker and self.event_log is not None:
            self.scheduler.fail(f"{self.name} was sent {marker} while it booted, which amid knew")
        if session.is_booting and request.get("Command") == "core waitfullybooted":
            session.block(lambda: act(session, request), self._pbx.now + self._boots_at - self.scheduler.now)
            return
        if not marker or session.user is None:
            self.release(session)  # a Ping is answered behind all that came before it
            act(session, request)
            return
        kind, items = self._choose(request)
        received = Received(marker, request.get("ActionID"), kind, items, self.scheduler.now)
        self._judge.receive(self.name, received)
        if kind == "slow":
            self.release(session)
            session.block(lambda: self._answer(session, request, received), self._pbx.now + self._random.choice(LATE_S))
        else:
            self._answer(session, request, received)

    def _choose(self, request: Request) -> tuple[str, int]:
        asked = request.get("Behave")
        kind = asked or "ok"
        if not asked and self.is_misbehaving:
            kind = self._random.choices(list(KINDS), list(KINDS.values()))[0]
        items = {"list": self._random.randint(0, 60), "huge": HUGE_ITEMS}.get(kind, 0)
        return "list" if kind == "huge" and self._takes_huge else kind, items

    def _answer(self, session: Session, request: Request, received: Received) -> None:
        if received.kind == "close":
            self.note_fault()
            session.close()
            return
        if received.kind == "silent":
            return
        received.answered = self.scheduler.now
        answer = b"".join(map(packet, self._packets(request, received)))
        if received.kind != "slow" and self._random.random() < self._reorders:
            session.held.append(answer)
        else:
            session.write(answer)
        if request.get("Async"):
            self.scheduler.after(self._random.choice((0.0, 0.01, 1.0)), self._originated, self._pbx, received)

    def _packets(self, request: Request, received: Received) -> list[list[tuple[str, str]]]:
        marker, action_id = ("Marker", received.marker), ("ActionID", received.action_id)
        match received.kind:
            case "bare":
                return [[("Response", "Error"), ("Message", "Failed to parse message: line too long")]]
            case "error":
                return [[("Response", "Error"), action_id, ("Message", f"refused {received.marker}"), marker]]
            case "list" | "huge":
                begin = [("Response", "Success"), action_id, ("EventList", "start"), marker]
                items = [[("Event", "Item"), action_id, marker, ("Number", str(n))] for n in range(received.items)]
                return [begin, *items, [("Event", "ItemsComplete"), action_id, ("EventList", "Complete"), marker]]
            case "foreign":
                return [[("Response", "Success"), ("ActionID", "amid-of-another"), marker]]
            case "twice":
                return [[("Response", "Success"), action_id, marker]] * 2
            case _:
                return [[("Response", "Success"), action_id, marker]]

    def _originated(self, pbx: Pbx, received: Received) -> None:
        if pbx is self._pbx:
            headers = [("ActionID", received.action_id), ("Response", "Success"), ("Marker", received.marker)]
            received.completed = self.scheduler.now
            pbx.emit("OriginateResponse", "call", headers)
            for connection in list(self.connections):
                connection.work()

    def release(self, session: Session) -> None:
        """Send what was held, its packets mixed; those of one answer stay in order."""
        held, session.held = [one.split(b"\r\n\r\n")[:-1] for one in session.held], []
        while held:
            chosen = self._random.choice(held)
            session.write(chosen.pop(0) + b"\r\n\r\n")
            held = [one for one in held if one]
