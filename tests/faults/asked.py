"""The actions of the load's callers, each of which recognises its own answer by content."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Packet = Mapping[str, Any]
OK = frozenset({"ok"})
REFUSED = frozenset({"action_failed"})

ENDING = "Asterisk is shutting down"

SHORTEST, LONGEST = 0.5, 5.0
"""Seconds: the timeouts are drawn from in between."""


class Asked(NamedTuple):
    """One action. `fine`: how it ends when all is well; `shown`: whether a result, or Asterisk's refusal, is an answer to it."""

    action: str
    fields: dict[str, Any]
    timeout: float
    fine: frozenset[str]
    shown: Callable[[Packet], Any]
    until: str | None = None
    token: str = ""

    def wrong(self, result: Packet) -> str:
        """What is not its own in a result, "" if all is. `result["response"]` is Asterisk's packet, in a refusal too."""
        response = result["response"]
        if response.get("ActionID") != self.fields["ActionID"]:
            return f"ActionID is {response.get('ActionID')!r} and not {self.fields['ActionID']!r}"
        refused = response.get("Response") == "Error"
        if refused and (self.fine == OK or response["Message"] == ENDING):  # that is Asterisk's business
            return ""
        return "" if self.shown(result) else f"{self.action} was answered by {result}"


def draw(chance: random.Random, caller: str, number: int) -> Asked:
    """The next action of a caller; `number` makes it unique among the caller's actions."""
    (make,) = chance.choices(list(MAKERS), list(MAKERS.values()))
    asked: Asked = make(caller, f"{caller}-{number}", chance.uniform(SHORTEST, LONGEST))
    return asked._replace(fields={**asked.fields, "ActionID": f"own-{caller}-{number}"})


def ping(caller: str, token: str, timeout: float) -> Asked:
    return Asked("Ping", {}, timeout, OK, lambda got: got["response"]["Ping"] == "Pong")


def variable(caller: str, token: str, timeout: float) -> Asked:
    return Asked("Getvar", {"Variable": f"V{token}"}, timeout, OK, lambda got: got["response"]["Variable"] == f"V{token}")


def no_channel(caller: str, token: str, timeout: float) -> Asked:
    fields = {"Channel": f"none/{token}", "Variable": "X"}
    return Asked("Getvar", fields, timeout, REFUSED, lambda got: got["response"]["Message"] == "No such channel")


def put(caller: str, token: str, timeout: float) -> Asked:
    fields = {"Family": "faults", "Key": caller, "Val": f"{caller} {token}"}
    return Asked("DBPut", fields, timeout, OK, lambda got: got["response"]["Response"] == "Success")


def get(caller: str, token: str, timeout: float) -> Asked:
    """A caller who has put nothing yet, or whose Asterisk is a new one, is refused."""

    def shown(got: Packet) -> bool:
        if got["response"]["Response"] == "Error":
            return str(got["response"]["Message"]) == "Database entry not found"
        return [item["Val"].split()[0] for item in got["events"]] == [caller]

    return Asked("DBGet", {"Family": "faults", "Key": caller}, timeout, OK | REFUSED, shown)


def command(caller: str, token: str, timeout: float) -> Asked:
    def shown(got: Packet) -> bool:
        output = got["response"].get("Output", "") or "".join(got.get("output", []))
        return str(output).startswith(f"No such command 'nonsense {token}'")

    return Asked("Command", {"Command": f"nonsense {token}"}, timeout, OK | REFUSED, shown)


def channels(caller: str, token: str, timeout: float) -> Asked:
    def shown(got: Packet) -> bool:
        return str(got["complete"]["ListItems"]) == str(len(got["events"]))

    return Asked("CoreShowChannels", {}, timeout, OK, shown)


def nonsense(caller: str, token: str, timeout: float) -> Asked:
    said = f"Invalid/unknown command: Nonsense{token}."
    return Asked(f"Nonsense{token}", {}, timeout, REFUSED, lambda got: got["response"]["Message"].startswith(said))


def event(caller: str, token: str, timeout: float) -> Asked:
    fields = {"UserEvent": "Load", "Token": token}
    return Asked("UserEvent", fields, timeout, OK, lambda got: got["response"]["Message"] == "Event Sent", token=token)


def event_and_back(caller: str, token: str, timeout: float) -> Asked:
    return event(caller, token, timeout)._replace(until="UserEvent", shown=lambda got: got["until"]["Token"] == token)


def originate(caller: str, token: str, timeout: float) -> Asked:
    fields = {"Channel": "Local/short@calls", "Application": "Wait", "Data": "0.1", "Async": True}
    until = "OriginateResponse"
    return Asked("Originate", fields, timeout, OK, lambda got: got["until"]["Event"] == until, until)


MAKERS: dict[Callable[[str, str, float], Asked], int] = {
    event: 50,
    event_and_back: 6,
    ping: 12,
    variable: 8,
    no_channel: 4,
    put: 4,
    get: 4,
    command: 4,
    channels: 4,
    nonsense: 4,
    originate: 1,
}
"""How often each is drawn, out of the sum of all."""
