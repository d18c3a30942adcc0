"""Detection that Asterisk has booted: by the event, by the command, or unknown."""

from __future__ import annotations

from amid.ami.boot import LIMIT_S, Boot, BootCheck
from amid.ami.packet import Packet, parse_headers
from amid.ami.session import Login, Session, SessionTimeouts


def boot_check(sees_event: bool = False) -> BootCheck:
    return BootCheck(Session(Login("amid", "secret"), SessionTimeouts(), 1000), sees_event, 100.0)


def asked(check: BootCheck, now: float = 100.0) -> dict[str, str]:
    """The action that it sends now."""
    check.check(now)
    headers = parse_headers(check._session.data_to_send().removesuffix(b"\r\n\r\n"))
    return {str(name): str(value) for name, value in headers.items()}


def answer(action: dict[str, str], response: str = "Success") -> Packet:
    return Packet(f"Response: {response}\r\nActionID: {action['ActionID']}".encode())


def after_ping(sees_event: bool = False) -> tuple[BootCheck, dict[str, str]]:
    """A check to whose login no event came, and the command that it sends."""
    check = boot_check(sees_event)
    ping = asked(check)
    assert ping["Action"] == "Ping" and not check.blocked
    assert check.feed_answer(answer(ping))
    return check, asked(check)


def test_fully_booted_arrives_with_the_login() -> None:
    check = boot_check()
    check.feed_events(["SuccessfulAuth", "FullyBooted"])
    check.check(100.0)
    assert check.state is Boot.BOOTED and check.at_login and check.sees_event and not check._session.data_to_send()


def test_fully_booted_arrives_before_the_pong() -> None:
    check = boot_check()
    ping = asked(check)
    check.feed_events(["FullyBooted"])
    assert check.feed_answer(answer(ping)) and check.state is Boot.BOOTED
    assert not check._session.data_to_send(), "nothing more is asked"


def test_the_boot_command_succeeds_after_booting() -> None:
    check, command = after_ping()
    assert (command["Action"], command["Command"]) == ("Command", "core waitfullybooted")
    assert check.blocked and not check.over, "until then no Ping would be answered"
    assert check.feed_answer(answer(command))
    assert check.state is Boot.BOOTED and not check.at_login and not check.blocked


def test_fully_booted_arrives_although_the_command_is_denied() -> None:
    check, command = after_ping(sees_event=True)
    check.feed_answer(answer(command, "Error"))
    assert check.state is Boot.BOOTING and not check.blocked
    check.feed_events(["FullyBooted"])
    state: Boot = check.state
    assert state is Boot.BOOTED


def test_a_user_without_event_and_command_is_not_delayed() -> None:
    check, command = after_ping()
    check.feed_answer(answer(command, "Error"))
    assert check.state is Boot.UNKNOWN


def test_the_wait_for_fully_booted_times_out() -> None:
    check, command = after_ping(sees_event=True)
    check.feed_answer(answer(command, "Error"))
    check.check(100.0 + LIMIT_S - 0.1)
    assert not check.over
    check.check(100.0 + LIMIT_S)
    assert check.state is Boot.UNKNOWN


def test_answers_of_other_actions_are_ignored() -> None:
    check = boot_check()
    assert not check.feed_answer(Packet(b"Response: Success")), "nothing has been asked"
    asked(check)
    assert not check.feed_answer(Packet(b"Response: Success\r\nActionID: another"))
