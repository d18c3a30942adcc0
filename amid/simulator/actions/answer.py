"""The table of actions, permission checks, and the forms of answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from amid.simulator.event import classes_of
from amid.simulator.pbx import Pbx
from amid.simulator.session import Session
from amid.simulator.wire import Header, Request

Item = tuple[str, Sequence[Header]]
"""An event of a list: its name, and its headers without the ActionID."""


class Answer:
    """The context of an action: its session, its request, and methods to answer."""

    def __init__(self, session: Session, request: Request) -> None:
        self.session = session
        self.request = request
        self.pbx: Pbx = session.pbx
        action_id = request.get("ActionID")
        self.identity: list[Header] = [("ActionID", action_id)] if action_id else []

    def get(self, name: str) -> str:
        return self.request.get(name)

    def success(self, message: str = "", headers: Iterable[Header] = ()) -> None:
        """Answer `Response: Success` with a message or with other headers in its place."""
        self._respond("Success", [("Message", message)] if message else headers)

    def error(self, message: str) -> None:
        self._respond("Error", [("Message", message)])

    def goodbye(self, message: str) -> None:
        self._respond("Goodbye", [("Message", message)])

    def _respond(self, response: str, headers: Iterable[Header]) -> None:
        self.session.send([("Response", response), *self.identity, *headers])

    def listing(
        self,
        message: str,
        complete: str,
        items: Iterable[Item],
        *,
        extra: Iterable[Header] = (),
        last: bool = False,
        marker: str = "start",
    ) -> None:
        """Answer with a list: the response, an event for each item, and the closing event with
        `extra` at its end.

        last: write the ActionID after the headers of items, as some Asterisk modules do.
        """
        self._respond("Success", [("EventList", marker), ("Message", message)])
        count = 0
        for event, headers in items:
            count += 1
            self.session.send([("Event", event), *([*headers, *self.identity] if last else [*self.identity, *headers])])
        closing = [("EventList", "Complete"), ("ListItems", str(count))]
        self.session.send([("Event", complete), *self.identity, *closing, *extra])


@dataclass(frozen=True)
class Action:
    name: str
    classes: tuple[str, ...]
    """Privilege classes of which a user needs one; empty: any user may run the action."""
    synopsis: str
    run: Callable[[Answer], None]
    until: int = 99
    """The last Asterisk version that has this action."""

    @property
    def privilege(self) -> str:
        return ",".join((*self.classes, "all")) if self.classes else "<none>"


ACTIONS: dict[str, Action] = {}
"""The actions by lower-case name."""

BEFORE_LOGIN = ("challenge", "login", "logoff")


def action(
    name: str,
    classes: str,
    synopsis: str,
    *,
    until: int = 99,
) -> Callable[[Callable[[Answer], None]], Callable[[Answer], None]]:
    """Register a function as an action. classes: separated by commas, "" for none."""

    def enter(function: Callable[[Answer], None]) -> Callable[[Answer], None]:
        needed = tuple(classes.split(",")) if classes else ()
        ACTIONS[name.lower()] = Action(name, needed, synopsis, function, until)
        return function

    return enter


def allowed(session: Session, known: Action) -> bool:
    write = classes_of(session.user.write) if session.user else frozenset[str]()
    return not known.classes or any(name in write for name in known.classes)


def act(session: Session, request: Request) -> None:
    """Run one request, or refuse it with Asterisk's message."""
    answer, name = Answer(session, request), request.get("Action")
    known = ACTIONS.get(name.lower())
    if request.defect:
        answer.error(request.defect)
    elif not name:
        answer.error("Missing action in request")
    elif session.user is None and name.lower() not in BEFORE_LOGIN:
        answer.error("Permission denied")
    elif known is None or known.until < session.release.version:
        answer.error(f"Invalid/unknown command: {name}. Use Action: ListCommands to show available commands.")
    elif not allowed(session, known):
        answer.error("Permission denied")
    else:
        known.run(answer)
