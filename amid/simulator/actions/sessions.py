"""Actions on the session: login and logoff, events, WaitEvent and UserEvent."""

from __future__ import annotations

from datetime import UTC, datetime

from amid.simulator.actions.answer import ACTIONS, Answer, action, allowed
from amid.simulator.event import Event, classes_of
from amid.simulator.wire import Header


@action("Ping", "", "Keepalive command.")
def ping(answer: Answer) -> None:
    answer.success(headers=[("Ping", "Pong"), ("Timestamp", f"{answer.pbx.now:.6f}")])


@action("Challenge", "", "Generate Challenge for MD5 Auth.")
def challenge(answer: Answer) -> None:
    if answer.get("AuthType").lower() != "md5":
        return answer.error("Must specify AuthType")
    answer.success(headers=[("Challenge", answer.session.challenge())])


@action("Login", "", "Login Manager.")
def login(answer: Answer) -> None:
    session, pbx = answer.session, answer.pbx
    if session.user is not None:
        return answer.success("Already authenticated")
    user = session.authenticate(answer.request)
    if user is None:
        return _reject(answer)
    session.admit(user, answer.get("Events") or "on")
    answer.success("Authentication accepted")
    age = str(int(pbx.now - pbx.started))
    booted = Event("FullyBooted", ["system"], [("Uptime", age), ("LastReload", age), ("Status", "Fully Booted")])
    session.receive_event(booted)
    moment = _moment(pbx.now)
    pbx.emit(
        "SuccessfulAuth",
        "security",
        _security(answer, "Informational", "1"),
        [("UsingPassword", "0"), ("SessionTV", moment)],
    )


def _reject(answer: Answer) -> None:
    """Report the reason as a security event, then answer and close after one second."""
    known = answer.session.knows(answer.get("Username"))
    name, version = ("InvalidPassword", "2") if known else ("InvalidAccountID", "1")
    answer.pbx.emit(name, "security", _security(answer, "Error", version), [("SessionTV", _moment(0))])

    def refuse() -> None:
        answer.error("Authentication failed")
        answer.session.close()

    answer.session.block(refuse, answer.pbx.now + 1)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


def _security(answer: Answer, severity: str, version: str) -> list[Header]:
    return [
        ("EventTV", _moment(answer.pbx.now)),
        ("Severity", severity),
        ("Service", "AMI"),
        ("EventVersion", version),
        ("AccountID", answer.get("Username")),
        ("SessionID", f"0x{id(answer.session):x}"),
        ("LocalAddress", "IPV4/TCP/127.0.0.1/5038"),
        ("RemoteAddress", f"IPV4/TCP/{answer.session.peer}"),
    ]


@action("Logoff", "", "Logoff Manager.")
def logoff(answer: Answer) -> None:
    answer.goodbye("Thanks for all the fish.")
    answer.session.close()


@action("Events", "", "Control Event Flow.")
def events(answer: Answer) -> None:
    if not answer.get("EventMask"):
        return answer.error("Invalid event mask")
    answer.session.mask = classes_of(answer.get("EventMask"))
    answer.success(headers=[("Events", "On" if answer.session.mask else "Off")])


@action("ListCommands", "", "List available manager commands.")
def list_commands(answer: Answer) -> None:
    offered = [
        known
        for _, known in sorted(ACTIONS.items())
        if known.until >= answer.session.release.version and allowed(answer.session, known)
    ]
    answer.success(headers=[(known.name, f"{known.synopsis}  (Priv: {known.privilege})") for known in offered])


@action("WaitEvent", "", "Wait for an event to occur.")
def wait_event(answer: Answer) -> None:
    """Wait for an event, the timeout or further input, whichever comes first."""
    session, seen = answer.session, list[Event]()

    def finish() -> None:
        answer.success("Waiting for Event completed.")
        for event in seen:
            session.write(event.raw)
        session.send([("Event", "WaitEventComplete"), *answer.identity])

    def notice(event: Event) -> bool:
        """Any event ends the wait, even one that this session does not receive."""
        if session.wants(event):
            seen.append(event)
        session.unblock()
        return True

    timeout = answer.get("Timeout")
    seconds = int(timeout) if timeout.lstrip("-").isdigit() else -1
    if seconds == 0:
        return finish()
    session.block(finish, answer.pbx.now + seconds if seconds > 0 else float("inf"), notice)


@action("UserEvent", "user", "Send an arbitrary event.")
def user_event(answer: Answer) -> None:
    """Send all headers except Action to every session, including the sender's ActionID."""
    body = [line for line in answer.request.lines if line.partition(":")[0].lower() not in ("action", "userevent")]
    answer.success("Event Sent")
    answer.pbx.emit_lines("UserEvent", "user", [f"UserEvent: {answer.get('UserEvent')}", *body])
