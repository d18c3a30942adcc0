"""Dial and Queue: a channel calls another, rings it, and talks to it until one of them hangs up."""

from __future__ import annotations

from collections.abc import Generator

from amid.simulator import model
from amid.simulator.dialplan import APPLICATIONS, Redirected, enter, live, pause
from amid.simulator.model import Channel, Member, Queue
from amid.simulator.pbx import HungUp, Pbx
from amid.simulator.tasks import NEVER, Steps


def call_out(pbx: Pbx, target: str, caller: Channel | None) -> Channel | None:
    """Start a leg to `target` (`PJSIP/alice`, `Local/600@default/n`). Returns None for an unknown
    target."""
    technology, _, address = target.partition("/")
    if technology == "PJSIP" and address in pbx.phones:
        party = str(6001 + list(pbx.phones).index(address)), pbx.phones[address]
        leg = pbx.new_channel(f"PJSIP/{address}", model.DOWN, "s", linked=caller, caller=party)
        pbx.run_on(leg, _phone(pbx, leg))
        return leg
    exten, _, context = address.partition("/")[0].partition("@")
    if technology != "Local":
        return None
    leg = pbx.new_local(exten, context or "default", caller)
    far = leg.half
    assert far is not None
    program = pbx.program(far.context, exten)
    if not program:
        leg.cause = far.cause = 0
        pbx.destroy(far)
        return None
    pbx.emit(
        "LocalBridge",
        "call",
        leg.snapshot("LocalOne"),
        far.snapshot("LocalTwo"),
        [
            ("Context", far.context),
            ("Exten", exten),
            ("LocalOptimization", "No" if target.endswith("/n") else "Yes"),
        ],
    )
    enter(pbx, far, program)
    return leg


def _phone(pbx: Pbx, leg: Channel) -> Steps:
    """A phone with a person: rings, is usually answered, sometimes rejected, and hangs up after a
    conversation."""
    try:
        yield from pause(pbx, pbx.random.uniform(0.05, 0.3))
        pbx.set_state(leg, model.RINGING)
        yield from pause(pbx, pbx.random.uniform(1, 8))
        if pbx.random.random() < 0.1:
            raise HungUp(pbx.random.choice((17, 21)))
        pbx.set_state(leg, model.UP)
        yield from pause(pbx, pbx.random.uniform(5, 40))
        pbx.request_hangup(leg)
        raise HungUp(16)
    except HungUp as hangup:
        leg.cause = leg.cause or hangup.cause
    except Redirected as redirected:
        _detach(pbx, leg)
        leg.context, leg.exten = redirected.context, redirected.exten
        yield from live(pbx, leg, pbx.program(leg.context, leg.exten))
    finally:
        pbx.destroy(leg)


def _detach(pbx: Pbx, leg: Channel) -> None:
    """Detach a redirected leg from the channel that dialled it."""
    pbx.leave(leg)
    dialler, leg.watcher = leg.watcher, None
    pbx.tasks.wake(dialler)


def introduce(pbx: Pbx, caller: Channel, leg: Channel, application: str) -> None:
    """Set the caller's identity on the dialled leg, on both halves of a Local channel."""
    leg.exten = caller.exten
    pbx.set_application(leg, application, "(Outgoing Line)")
    pbx.set_connected(leg, caller.number, caller.caller_name)
    if leg.half is not None:
        pbx.set_caller(leg, caller.exten, caller.caller_name)
        pbx.set_caller(leg.half, caller.number, caller.caller_name)


def await_answer(
    pbx: Pbx,
    caller: Channel | None,
    leg: Channel,
    target: str,
    seconds: float,
) -> Generator[float, None, bool]:
    """Ring `leg` for at most `seconds` and report Dial events. Returns whether it was answered."""
    source = caller.snapshot() if caller else []
    pbx.emit("DialBegin", "call", source, leg.snapshot("Dest"), [("DialString", target.partition("/")[2])])
    until, rang, status = pbx.now + seconds, False, "NOANSWER"
    try:
        while leg.alive and leg.state != model.UP and pbx.now < until:
            yield until - pbx.now
            if leg.alive and leg.state == model.RINGING and not rang:
                rang = True
                pbx.emit("DialState", "call", source, leg.snapshot("Dest"), [("DialStatus", "RINGING")])
    except HungUp:
        status = "CANCEL"
        raise
    finally:
        answered = leg.alive and leg.state == model.UP
        status = "ANSWER" if answered else {17: "BUSY", 21: "CHANUNAVAIL"}.get(leg.cause, status)
        pbx.emit(
            "DialEnd",
            "call",
            caller.snapshot() if caller else [],
            leg.snapshot("Dest"),
            [("DialStatus", status)],
        )
    return answered


def talk(pbx: Pbx, caller: Channel, leg: Channel) -> Steps:
    """Bridge two channels until one of them leaves."""
    pbx.set_state(caller, model.UP)
    bridge = pbx.new_bridge()
    pbx.enter(leg, bridge)
    pbx.enter(caller, bridge)
    for one, other in ((leg, caller), (caller, leg)):
        pbx.set_variable(one, "BRIDGEPEER", other.name)
    try:
        while leg.bridge is bridge:
            yield NEVER
    finally:
        pbx.leave(caller)


def dial(pbx: Pbx, channel: Channel, data: str) -> Steps:
    target, _, seconds = data.partition(",")
    leg = call_out(pbx, target, channel)
    if leg is None:
        pbx.set_variable(channel, "DIALSTATUS", "CHANUNAVAIL")
        return
    leg.watcher = channel.task
    try:
        introduce(pbx, channel, leg, "AppDial")
        answered = yield from await_answer(pbx, channel, leg, target, float(seconds or 60))
        pbx.set_variable(channel, "DIALSTATUS", "ANSWER" if answered else "NOANSWER")
        if answered:
            pbx.set_connected(channel, leg.number, leg.caller_name)
            yield from talk(pbx, channel, leg)
    finally:
        if leg.watcher is channel.task:
            pbx.hang_up(leg, requested=False)


def queue(pbx: Pbx, channel: Channel, data: str) -> Steps:
    waiting = pbx.queues.get(data.partition(",")[0])
    if waiting is None:
        pbx.set_variable(channel, "QUEUESTATUS", "JOINUNAVAIL")
        return
    joined = pbx.now
    waiting.callers.append((channel, joined))
    pbx.emit(
        "QueueCallerJoin",
        "agent",
        channel.snapshot(),
        [
            ("Queue", waiting.name),
            ("Position", str(waiting.position(channel))),
            ("Count", str(len(waiting.callers))),
        ],
    )
    try:
        while waiting.position(channel):
            member = next((m for m in waiting.members if m.available), None)
            if member is None or waiting.position(channel) > 1:
                yield 0.25  # Asterisk also polls
            else:
                yield from _offer(pbx, channel, waiting, member, joined)
    finally:
        if position := waiting.position(channel):
            waiting.abandoned += 1
            pbx.emit(
                "QueueCallerAbandon",
                "agent",
                channel.snapshot(),
                [
                    ("Queue", waiting.name),
                    ("Position", str(position)),
                    ("OriginalPosition", str(position)),
                    ("HoldTime", str(int(pbx.now - joined))),
                ],
            )
            _leave_queue(pbx, channel, waiting)


def _leave_queue(pbx: Pbx, channel: Channel, waiting: Queue) -> None:
    position = waiting.position(channel)
    del waiting.callers[position - 1]
    pbx.emit(
        "QueueCallerLeave",
        "agent",
        channel.snapshot(),
        [("Queue", waiting.name), ("Position", str(position)), ("Count", str(len(waiting.callers)))],
    )


def _offer(pbx: Pbx, channel: Channel, waiting: Queue, member: Member, joined: float) -> Steps:
    """Ring one queue member for 15 s, and connect the caller if it answers."""
    target, began = member.interface, pbx.now
    leg = call_out(pbx, target, channel)
    if leg is None:
        yield 5
        return
    leg.watcher = channel.task
    who = [("Queue", waiting.name), ("Interface", target), ("MemberName", member.name)]
    try:
        introduce(pbx, channel, leg, "AppQueue")
        pbx.emit("AgentCalled", "agent", channel.snapshot(), leg.snapshot("Dest"), who)
        if not (yield from await_answer(pbx, channel, leg, target, 15)):
            pbx.emit(
                "AgentRingNoAnswer",
                "agent",
                channel.snapshot(),
                leg.snapshot("Dest"),
                who,
                [("RingTime", str(int((pbx.now - began) * 1000)))],
            )
            return
        pbx.set_connected(channel, leg.number, leg.caller_name)
        _leave_queue(pbx, channel, waiting)
        pbx.emit(
            "AgentConnect",
            "agent",
            channel.snapshot(),
            leg.snapshot("Dest"),
            who,
            [("HoldTime", str(int(pbx.now - joined))), ("RingTime", str(int(pbx.now - began)))],
        )
        yield from _serve(pbx, channel, waiting, member, leg, joined)
    finally:
        if leg.watcher is channel.task:
            pbx.hang_up(leg, requested=False)


def _serve(pbx: Pbx, channel: Channel, waiting: Queue, member: Member, leg: Channel, joined: float) -> Steps:
    connected, member.in_call = pbx.now, True
    try:
        yield from talk(pbx, channel, leg)
    finally:
        member.in_call = False
        member.calls += 1
        member.last_call = int(pbx.now)
        waiting.completed += 1
        waiting.hold_time, waiting.talk_time = int(connected - joined), int(pbx.now - connected)
        pbx.emit(
            "AgentComplete",
            "agent",
            channel.snapshot(),
            [
                ("Queue", waiting.name),
                ("Interface", member.interface),
                ("MemberName", member.name),
                ("HoldTime", str(waiting.hold_time)),
                ("TalkTime", str(waiting.talk_time)),
                ("Reason", "caller" if leg.alive else "agent"),
            ],
        )


APPLICATIONS.update(dial=dial, queue=queue)
