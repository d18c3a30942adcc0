"""Prometheus metrics of the PBXs, counted from their live state. Pure.

The number of series is bounded, whatever callers send: no label contains a number, a caller's name,
a channel or an interface. States, technologies and statuses are those of Asterisk's source, and any
other value becomes `other`. The first `MAX_QUEUES` queues by name have series;
`asterisk_queues_left_out` counts the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from amid.client.results import State
from amid.client.results import Text as AnyText
from amid.state.queues import MEMBER_STATUS

KINDS = ("channels", "calls", "bridges", "queues", "members", "callers", "contacts", "registrations", "parked", "conferences")
"""Kinds of the state that a scrape requests."""
MAX_QUEUES = 500
"""Queues of one server that have series."""
MAX_QUEUE_NAME = 80
"""Characters of a queue name in a label (asterisk/asterisk, apps/app_queue.c: 80 bytes)."""

OTHER = "other"
TECHNOLOGIES = frozenset({
    "PJSIP", "SIP", "IAX2", "DAHDI", "Local", "AudioSocket", "WebSocket", "UnicastRTP", "MulticastRTP", "Message", "ConfBridge",
    "CBAnn", "CBRec", "Recorder", "Announcer", "Surrogate", "OutgoingSpoolFailed", "Motif", "Console", "Agent", "Bridge",
})  # fmt: skip
CHANNEL_STATES = ("Down", "Rsrvd", "OffHook", "Dialing", "Ring", "Ringing", "Up", "Busy", "Dialing Offhook", "Pre-ring")
"""States of a channel (asterisk/asterisk, main/channel.c, ast_state2str)."""
CONTACT_STATES = ("Reachable", "Unreachable", "NonQualified", "Created", "Unknown", "Avail", "Unavail", "NonQual")
"""Statuses of a contact in events and in lists (asterisk/asterisk, res/res_pjsip/pjsip_options.c)."""
REGISTRATION_STATES = ("Registered", "Unregistered", "Rejected", "Stopped", "Request Sent", "Auth. Sent", "Timeout", "Failed")
"""Statuses of an outbound registration (res_pjsip_outbound_registration.c, chan_sip.c, chan_iax2.c)."""

Thing = Mapping[str, Any]


def tracking_metrics(reports: Mapping[str, Any]) -> Iterator[Metric]:
    """How well the state of each server is tracked. reports: server to the report of the process `state`
    in the method `status`."""
    exact = GaugeMetricFamily(
        "amid_state_exact",
        "1 if the live state is exactly that of Asterisk as of an event; see etc/doc/state.md.",
        labels=["server"],
    )
    corrections = CounterMetricFamily(
        "amid_state_corrections",
        "Differences between the live state and Asterisk's lists that were corrected; each is a bug.",
        labels=["server"],
    )
    gaps = CounterMetricFamily(
        "amid_state_gaps", "Losses of events after which the live state was loaded again.", labels=["server"]
    )
    lag = GaugeMetricFamily(
        "amid_event_lag_seconds", "Time from the last barrier, an action, to its event, in seconds.", labels=["server"]
    )
    for name, report in sorted(reports.items()):
        exact.add_metric([name], float(report["exact"]))
        corrections.add_metric([name], report["corrections"])
        gaps.add_metric([name], report["gaps"])
        if report["event_lag"] is not None:
            lag.add_metric([name], report["event_lag"])
    yield from (exact, corrections, gaps, lag)


def asterisk_metrics(states: Iterable[State], now: float) -> Iterator[Metric]:
    """The metrics of the servers with these states. now: Unix time in seconds."""
    known = [(state["server"], state) for state in states]
    yield from _calls(known)
    yield from _queues(known, now)
    yield from _by_status(known, "contacts", "asterisk_contacts", "Contacts of PJSIP endpoints, by status.", CONTACT_STATES)
    yield from _by_status(
        known, "registrations", "asterisk_registrations", "Outbound registrations at other servers, by status.", REGISTRATION_STATES
    )


def _calls(states: list[tuple[str, Any]]) -> Iterator[Metric]:
    channels = GaugeMetricFamily(
        "asterisk_channels", "Current channels, by state and technology.", labels=["server", "state", "tech"]
    )
    calls = GaugeMetricFamily(
        "asterisk_calls",
        "Current calls, each with all channels of its Linkedid, by whether two parties talk.",
        labels=["server", "talking"],
    )
    yield from _counts(states)
    for server, state in states:
        counted = Counter((_one_of(CHANNEL_STATES, one["state"]), _technology(one["name"])) for one in state["channels"])
        for (status, tech), count in sorted(counted.items()):
            channels.add_metric([server, status, tech], count)
        talking = sum(one["talking"] for one in state["calls"])
        calls.add_metric([server, "true"], talking)
        calls.add_metric([server, "false"], len(state["calls"]) - talking)
    yield from (channels, calls)


def _counts(states: list[tuple[str, Any]]) -> Iterator[Metric]:
    texts = {
        "bridges": "Current bridges.",
        "parked": "Calls that are parked now.",
        "conferences": "Current ConfBridge conferences.",
    }
    for kind, text in texts.items():
        made = GaugeMetricFamily(f"asterisk_{'parked_calls' if kind == 'parked' else kind}", text, labels=["server"])
        for server, state in states:
            made.add_metric([server], len(state[kind]))
        yield made


def _queues(states: list[tuple[str, Any]], now: float) -> Iterator[Metric]:
    labels = ["server", "queue"]
    waiting = GaugeMetricFamily("asterisk_queue_waiting", "Callers that wait in the queue now.", labels=labels)
    longest = GaugeMetricFamily(
        "asterisk_queue_longest_wait_seconds", "Longest wait of the callers that wait in the queue now, in seconds.", labels=labels
    )
    completed = CounterMetricFamily(
        "asterisk_queue_completed", "Answered calls of the queue, as Asterisk counts them.", labels=labels
    )
    abandoned = CounterMetricFamily(
        "asterisk_queue_abandoned", "Callers of the queue that hung up while they waited, as Asterisk counts them.", labels=labels
    )
    members = GaugeMetricFamily(
        "asterisk_queue_members",
        "Members of the queue, by status and by whether they are paused.",
        labels=[*labels, "status", "paused"],
    )
    left_out = GaugeMetricFamily(
        "asterisk_queues_left_out", f"Queues that have no series, because the server has more than {MAX_QUEUES}.", labels=["server"]
    )
    for server, state in states:
        queues = sorted(state["queues"], key=lambda queue: _text(queue["name"]))
        left_out.add_metric([server], max(0, len(queues) - MAX_QUEUES))
        callers, members_of = _by_queue(state["callers"]), _by_queue(state["members"])
        for queue in queues[:MAX_QUEUES]:
            name = queue["name"]
            key, since = [server, _text(name)], [caller["since"] for caller in callers.get(name, ())]
            waiting.add_metric(key, len(since))
            longest.add_metric(key, max(0.0, now - min(since)) if since else 0.0)
            completed.add_metric(key, queue["completed"])
            abandoned.add_metric(key, queue["abandoned"])
            for (status, paused), count in sorted(_members(members_of.get(name, ())).items()):
                members.add_metric([*key, status, paused], count)
    yield from (waiting, longest, completed, abandoned, members, left_out)


def _members(members: Iterable[Thing]) -> Counter[tuple[str, str]]:
    return Counter((_one_of(MEMBER_STATUS, one["status"]), "true" if one["paused"] else "false") for one in members)


def _by_queue(things: Iterable[Thing]) -> dict[Any, list[Thing]]:
    found: dict[Any, list[Thing]] = {}
    for one in things:
        found.setdefault(one["queue"], []).append(one)
    return found


def _by_status(states: list[tuple[str, Any]], kind: str, name: str, text: str, known: tuple[str, ...]) -> Iterator[Metric]:
    made = GaugeMetricFamily(name, text, labels=["server", "status"])
    for server, state in states:
        for status, count in sorted(Counter(_one_of(known, one["status"]) for one in state[kind]).items()):
            made.add_metric([server, status], count)
    yield made


def _technology(channel: AnyText) -> str:
    """The part of a channel name before the slash. Callers can choose the name of a Local channel."""
    technology = _text(channel).partition("/")[0]
    return technology if technology in TECHNOLOGIES else OTHER


def _one_of(known: tuple[str, ...], value: Any) -> str:
    return value if value in known else OTHER


def _text(value: AnyText) -> str:
    """Text for a label, which must be UTF-8: other bytes are replaced."""
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else value)[:MAX_QUEUE_NAME]
