"""Actions on channels: list, variables, originate, redirect and hang up."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

from amid.simulator import model
from amid.simulator.actions.answer import Answer, Item, action
from amid.simulator.dialplan import Redirected
from amid.simulator.model import Channel
from amid.simulator.traffic import Origination
from amid.simulator.wire import Header

MAX_REPEATS = 2
"""The maximum number of repetitions in a channel name pattern, because a caller could make the
search exponential."""


@action("CoreShowChannels", "system,reporting", "List currently active channels.")
def core_show_channels(answer: Answer) -> None:
    answer.listing(
        "Channels will follow",
        "CoreShowChannelsComplete",
        (
            (
                "CoreShowChannel",
                [
                    *channel.snapshot(),
                    ("Application", channel.application),
                    ("ApplicationData", channel.data),
                    ("Duration", _clock(answer.pbx.now - channel.created)),
                    ("BridgeId", _bridge(channel)),
                ],
            )
            for channel in answer.pbx.channels.values()
        ),
    )


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600:02d}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def _bridge(channel: Channel) -> str:
    return channel.bridge.uniqueid if channel.bridge else ""


@action("Status", "system,call,reporting", "List channel status.")
def status(answer: Answer) -> None:
    name = answer.get("Channel")
    if name and name not in answer.pbx.channels:
        return answer.error("No such channel")
    channels = [answer.pbx.channels[name]] if name else list(answer.pbx.channels.values())
    answer.listing(
        "Channel status will follow",
        "StatusComplete",
        _status(answer, channels),
        last=True,
        extra=[("Items", str(len(channels)))],
    )


def _status(answer: Answer, channels: list[Channel]) -> Iterator[Item]:
    asked = [name for name in answer.get("Variables").split(",") if name]
    for channel in channels:
        yield (
            "Status",
            [
                ("Privilege", "Call"),
                *channel.snapshot(),
                ("Type", channel.name.partition("/")[0]),
                ("DNID", ""),
                ("EffectiveConnectedLineNum", channel.connected_number or model.UNKNOWN),
                ("EffectiveConnectedLineName", channel.connected_name or model.UNKNOWN),
                ("TimeToHangup", "0"),
                ("BridgeID", _bridge(channel)),
                ("Application", channel.application),
                ("Data", channel.data),
                ("Nativeformats", "(slin)"),
                ("Readformat", "slin"),
                ("Readtrans", ""),
                ("Writeformat", "slin"),
                ("Writetrans", ""),
                ("Callgroup", "0"),
                ("Pickupgroup", "0"),
                ("Seconds", str(int(answer.pbx.now - channel.created))),
                *(("Variable", f"{name}={_decoded(name) or channel.variables.get(name, '(null)')}") for name in asked),
            ],
        )


def find_channel(answer: Answer) -> Channel | None:
    """The channel that the request names; otherwise None, after answering with the error."""
    name = answer.get("Channel")
    channel = answer.pbx.channels.get(name)
    if channel is None:
        answer.error("No such channel" if name else "No channel specified")
    return channel


@action("Getvar", "call,reporting", "Gets a channel variable or function value.")
def getvar(answer: Answer) -> None:
    name, channel = answer.get("Variable"), None
    if not name:
        return answer.error("No variable specified")
    if answer.get("Channel") and (channel := find_channel(answer)) is None:
        return
    value = _decoded(name) or (channel.variables if channel else answer.pbx.globals).get(name, "")
    answer.success(headers=[("Variable", name), ("Value", value)])


def _decoded(name: str) -> str:
    """Evaluate BASE64_DECODE, the only dialplan function here; it puts arbitrary bytes, such as
    line ends, into an answer."""
    found = re.fullmatch(r"BASE64_DECODE\((.*)\)", name)
    return base64.b64decode(found[1]).decode(errors="surrogateescape") if found else ""


@action("Setvar", "call", "Sets a channel variable or function value.")
def setvar(answer: Answer) -> None:
    name, channel = answer.get("Variable"), None
    if not name:
        return answer.error("No variable specified")
    if answer.get("Channel") and (channel := find_channel(answer)) is None:
        return
    answer.pbx.set_variable(channel, name, answer.get("Value"))
    answer.success("Variable Set")


@action("Originate", "originate", "Originate a call.")
def originate(answer: Answer) -> None:
    origination = _parse_originate(answer)
    if isinstance(origination, str):
        return answer.error(origination)
    if origination.announce:
        answer.success("Originate successfully queued")
    else:
        session = answer.session
        session.block(lambda: None)

        def done(answered: bool) -> None:
            if not session.closed:
                session.block(
                    lambda: answer.success("Originate successfully queued") if answered else answer.error("Originate failed")
                )
                session.unblock()

        origination.done = done
    origination.start(answer.pbx)


def _parse_originate(answer: Answer) -> Origination | str:
    """The origination that a request describes, or Asterisk's error message."""
    target, timeout = answer.get("Channel"), answer.get("Timeout") or "30000"
    context, exten, priority = answer.get("Context"), answer.get("Exten"), answer.get("Priority")
    application, data = answer.get("Application"), answer.get("Data")
    defect = _defect(answer, target, timeout, context, exten, priority, application)
    if defect:
        return defect
    shown: list[Header] = (
        [("Application", application), ("Data", data)] if application else [("Context", context), ("Exten", exten)]
    )
    name, number = _caller(answer.get("CallerID"))
    return Origination(
        target,
        ((application, data),) if application else answer.pbx.program(context, exten),
        [header for header in shown if header[1]],
        answer.get("ActionID"),
        int(timeout) / 1000,
        answer.get("Async").lower() in ("true", "yes", "1", "on", "y", "t"),
        lambda answered: None,
        number,
        name,
        None if application else (context, exten),
        [(n, v) for line in answer.request.all("Variable") for part in line.split(",") for n, _, v in [part.partition("=")] if n],
    )


def _defect(answer: Answer, target: str, timeout: str, context: str, exten: str, priority: str, application: str) -> str:
    if not target:
        return "Channel not specified"
    if priority and not priority.isdigit():
        return "Invalid priority"
    if not timeout.isdigit():
        return "Invalid timeout"
    if "/" not in target:
        return "Invalid channel"
    if application:
        return ""
    if not (context and exten and priority):
        return "Originate with 'Exten' requires 'Context' and 'Priority'"
    return "" if answer.pbx.program(context, exten) else "Extension does not exist."


def _caller(text: str) -> tuple[str, str]:
    """Name and number of `"Name" <number>`, `Name <number>` or `number`."""
    name, bracket, number = text.strip().removesuffix(">").partition("<")
    return (name.strip().strip('"'), number) if bracket else ("", text)


@action("Hangup", "system,call", "Hangup channel.")
def hangup(answer: Answer) -> None:
    name, cause = answer.get("Channel"), int(answer.get("Cause") or 16)
    if len(name) > 1 and name[0] == name[-1] == "/":
        return _hangup_matching(answer, name, cause)
    if (channel := find_channel(answer)) is not None:
        answer.success("Channel Hungup")
        answer.pbx.hang_up(channel, cause)


def _hangup_matching(answer: Answer, name: str, cause: int) -> None:
    if "(" in name or sum(map(name.count, "*+?{")) > MAX_REPEATS:
        return answer.error(f"Regex compile failed on: {name}")
    try:
        pattern = re.compile(name[1:-1])
    except re.error:
        return answer.error(f"Regex compile failed on: {name}")
    found = [channel for channel in answer.pbx.channels.values() if pattern.search(channel.name)]
    answer.listing(
        "Channels hung up will follow",
        "ChannelsHungupListComplete",
        [("ChannelHungup", [("Channel", channel.name)]) for channel in found],
        last=True,
    )
    for channel in found:
        answer.pbx.hang_up(channel, cause)


@action("Redirect", "call", "Redirect (transfer) a call.")
def redirect(answer: Answer) -> None:
    name, context, exten = answer.get("Channel"), answer.get("Context"), answer.get("Exten")
    wanting = next(
        (
            label
            for label, value in (
                ("Channel", name),
                ("Context", context),
                ("Exten", exten),
                ("Priority", answer.get("Priority")),
            )
            if not value
        ),
        None,
    )
    if wanting:
        return answer.error(f"{wanting} not specified")
    channel = answer.pbx.channels.get(name)
    if channel is None:
        return answer.error(f"Channel does not exist: {name}")
    answer.success("Redirect successful")
    reachable = channel.in_dialplan or channel.state == model.UP
    if channel.task is None or not reachable or not answer.pbx.program(context, exten):
        answer.pbx.hang_up(channel)
    else:
        answer.pbx.tasks.interrupt(channel.task, Redirected(context, exten))
