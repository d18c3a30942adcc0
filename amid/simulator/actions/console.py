"""The action Command: the console commands of the simulated PBX and their output."""

from __future__ import annotations

from collections.abc import Callable

from amid.simulator import model
from amid.simulator.actions.answer import ACTIONS, Answer, action
from amid.simulator.actions.system import under

BLACKLIST = ("module load", "module unload")


@action("Command", "command", "Execute Asterisk CLI Command.")
def command(answer: Answer) -> None:
    line = answer.get("Command").strip()
    if not line:
        return answer.error("No command provided")
    if line.startswith(BLACKLIST):
        return answer.error("Command blacklisted")
    name = next((name for name in COMMANDS if line == name or line.startswith(f"{name} ")), None)
    if name is None:
        return _output(
            answer,
            False,
            [f"No such command '{line}' (type 'core show help {line}' for other possible commands)"],
        )
    _output(answer, True, COMMANDS[name](answer, line.removeprefix(name).strip()))


def _output(answer: Answer, success: bool, lines: list[str]) -> None:
    head = [("Response", "Success" if success else "Error"), *answer.identity, ("Message", "Command output follows")]
    answer.session.send([*head, *(("Output", line) for line in lines)])


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _version(answer: Answer, rest: str) -> list[str]:
    return [f"Asterisk {answer.session.release.asterisk} built by amid @ simulator on a unknown running Linux"]


def _channels(answer: Answer, rest: str) -> list[str]:
    def row(*cells: str) -> str:
        return "{:64.64s} {:32.32s} {:7.7s} {:30.30s}".format(*cells)

    channels = answer.pbx.channels.values()
    calls = sum(channel.in_dialplan for channel in channels)
    return [
        row("Channel", "Location", "State", "Application(Data)"),
        *(
            row(
                c.name,
                f"{c.exten}@{c.context}:{c.priority}" if c.exten else "(None)",
                model.STATES[c.state],
                f"{c.application or '(None)'}({c.data})",
            )
            for c in channels
        ),
        _plural(len(channels), "active channel"),
        _plural(calls, "active call"),
        f"{_plural(answer.pbx.calls_processed, 'call')} processed",
    ]


def _uptime(answer: Answer, rest: str) -> list[str]:
    age = _plural(int(answer.pbx.now - answer.pbx.started), "second")
    return [f"System uptime: {age}", f"Last reload: {age}"]


def _help(answer: Answer, rest: str) -> list[str]:
    commands = [f"{name:30.30s} -- A command of the simulated PBX" for name in COMMANDS]
    return commands + [f"{'manager show command ' + a.name:30.30s} -- {a.synopsis}" for a in ACTIONS.values()]


def _database(answer: Answer, rest: str) -> list[str]:
    found = under(answer.pbx.database, *rest.split())
    return [f"{key:<50s}: {value:<25s}" for key, value in found] + [f"{len(found)} results found."]


def _queues(answer: Answer, rest: str) -> list[str]:
    lines: list[str] = []
    for queue in (q for q in answer.pbx.queues.values() if rest in ("", q.name)):
        lines += [
            f"{queue.name} has {_plural(len(queue.callers), 'call')} (max unlimited) in 'ringall' strategy "
            f"({queue.hold_time}s holdtime, {queue.talk_time}s talktime), W:0, C:{queue.completed}, "
            f"A:{queue.abandoned}, SL:0.0%, SL2:0.0% within 0s"
        ]
        lines += (
            ["   Members: ", *(f"      {m.name} ({m.interface})" for m in queue.members)] if queue.members else ["   No Members"]
        )
        lines += (
            ["   Callers: ", *(f"      {n}. {c.name}" for n, (c, _) in enumerate(queue.callers, 1))]
            if (queue.callers)
            else ["   No Callers"]
        )
        lines.append("")
    return lines or [f"No such queue: {rest}."]


COMMANDS: dict[str, Callable[[Answer, str], list[str]]] = {
    "core show version": _version,
    "core show channels": _channels,
    "core show uptime": _uptime,
    "core show help": _help,
    "database show": _database,
    "queue show": _queues,
}
