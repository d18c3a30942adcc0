"""Actions of app_queue."""

from __future__ import annotations

from collections.abc import Iterator

from amid.simulator.actions.answer import Answer, Item, action
from amid.simulator.model import UNKNOWN, Member, Queue


def _chosen(answer: Answer) -> list[Queue]:
    wanted = answer.get("Queue")
    return [queue for queue in answer.pbx.queues.values() if not wanted or queue.name == wanted]


@action("QueueStatus", "", "Show queue status.")
def queue_status(answer: Answer) -> None:
    answer.listing("Queue status will follow", "QueueStatusComplete", _status(answer), last=True)


def _status(answer: Answer) -> Iterator[Item]:
    wanted = answer.get("Member")
    for queue in _chosen(answer):
        yield "QueueParams", queue.params()
        for member in queue.members:
            if not wanted or member.interface == wanted:
                yield "QueueMember", member.item()
        for position, (channel, joined) in enumerate(queue.callers, 1):
            yield (
                "QueueEntry",
                [
                    ("Queue", queue.name),
                    ("Position", str(position)),
                    ("Channel", channel.name),
                    ("Uniqueid", channel.uniqueid),
                    ("CallerIDNum", channel.number or UNKNOWN),
                    ("CallerIDName", channel.caller_name or UNKNOWN),
                    ("ConnectedLineNum", channel.connected_number or UNKNOWN),
                    ("ConnectedLineName", channel.connected_name or UNKNOWN),
                    ("Wait", str(int(answer.pbx.now - joined))),
                    ("Priority", "0"),
                ],
            )


@action("QueueSummary", "", "Show queue summary.")
def queue_summary(answer: Answer) -> None:
    answer.listing(
        "Queue summary will follow",
        "QueueSummaryComplete",
        [
            (
                "QueueSummary",
                [
                    ("Queue", queue.name),
                    ("LoggedIn", str(len(queue.members))),
                    ("Available", str(sum(member.available for member in queue.members))),
                    ("Callers", str(len(queue.callers))),
                    ("HoldTime", str(queue.hold_time)),
                    ("TalkTime", str(queue.talk_time)),
                    (
                        "LongestHoldTime",
                        str(int(answer.pbx.now - queue.callers[0][1]) if queue.callers else 0),
                    ),
                ],
            )
            for queue in _chosen(answer)
        ],
        last=True,
    )


@action("QueueAdd", "agent", "Add interface to queue.")
def queue_add(answer: Answer) -> None:
    name, interface = answer.get("Queue"), answer.get("Interface")
    queue = answer.pbx.queues.get(name)
    if not name or not interface:
        return answer.error(f"'{'Interface' if name else 'Queue'}' not specified.")
    if queue is None:
        return answer.error("Unable to add interface to queue: No such queue")
    if _find(queue, interface):
        return answer.error("Unable to add interface: Already there")
    member = Member(
        name,
        interface,
        answer.get("MemberName") or interface,
        answer.pbx.now,
        membership="dynamic",
        penalty=int(answer.get("Penalty") or 0),
        paused=_true(answer.get("Paused")),
    )
    queue.members.append(member)
    answer.success("Added interface to queue")
    answer.pbx.emit("QueueMemberAdded", "agent", member.snapshot())


@action("QueueRemove", "agent", "Remove interface from queue.")
def queue_remove(answer: Answer) -> None:
    name, interface = answer.get("Queue"), answer.get("Interface")
    queue = answer.pbx.queues.get(name)
    if not name or not interface:
        return answer.error("Need 'Queue' and 'Interface' parameters.")
    if queue is None:
        return answer.error("Unable to remove interface from queue: No such queue")
    member = _find(queue, interface)
    if member is None:
        return answer.error("Unable to remove interface: Not there")
    queue.members.remove(member)
    answer.success("Removed interface from queue")
    answer.pbx.emit("QueueMemberRemoved", "agent", member.snapshot())


@action("QueuePause", "agent", "Makes a queue member temporarily unavailable.")
def queue_pause(answer: Answer) -> None:
    interface, paused = answer.get("Interface"), answer.get("Paused")
    if not interface or not paused:
        return answer.error("Need 'Interface' and 'Paused' parameters.")
    members = [member for queue in _chosen(answer) if (member := _find(queue, interface))]
    if not members:
        return answer.error("Interface not found")
    answer.success(f"Interface {'paused' if _true(paused) else 'unpaused'} successfully")
    for member in members:
        member.paused, member.reason = _true(paused), answer.get("Reason")
        if member.paused:
            member.last_pause = int(answer.pbx.now)
        answer.pbx.emit("QueueMemberPause", "agent", member.snapshot())


@action("QueueRule", "", "Queue Rules.")
def queue_rule(answer: Answer) -> None:
    """One packet followed, as in Asterisk, by an extra blank line."""
    answer.success()
    answer.session.write(b"\r\n")


def _find(queue: Queue, interface: str) -> Member | None:
    return next((member for member in queue.members if member.interface == interface), None)


def _true(text: str) -> bool:
    return text.lower() in ("true", "yes", "y", "t", "1", "on")
