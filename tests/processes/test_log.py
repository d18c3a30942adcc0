"""The log: one line for each record, journal fields, hidden secrets, counted repetitions, and level
changes at run time."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from amid.config.load import check
from amid.config.report import ConfigError
from amid.process import log as logs
from amid.process.log import MAX_PER_WINDOW, WINDOW_S, Fields, Journal, Limit, Stderr
from amid.simulator import SimulatedPbx
from tests.conftest import StartDaemon
from tests.daemon import BOUND_S, Daemon, eventually
from tests.processes.pbx import table
from tests.processes.process import pids

SECRET = "s3cr3t-word"


def record(message: str, *args: object, level: int = logging.WARNING, at: float = 1.8e9, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("amid.reader", level, "file.py", 1, message, args, None)
    made.created, made.msecs = at, 0.0
    made.__dict__.update(extra)
    return made


def line(made: logging.LogRecord, secrets: tuple[str, ...] = ()) -> str:
    fields = Fields({"process": "reader", "server": "pbx1"})
    fields.hide(secrets)
    return fields.format(made)


def test_a_record_is_one_line_of_keys_and_values() -> None:
    said = line(record("%s ended", "broker", child="broker"))
    assert said == 'time=2027-01-15T08:00:00.000Z level=warning process=reader server=pbx1 child=broker message="broker ended"'


@pytest.mark.parametrize("value", ["a\nb", "a\r\nb", "a\x85b", "a\u2028b", 'a" level="error', "a\x1b[31mb", "a\udce9b"])
def test_values_cannot_break_the_line_or_start_a_field(value: str) -> None:
    said = line(record("got %s", value))
    assert len(said.splitlines()) == 1 and said.isprintable()
    assert said.count(" level=") == 1 or '\\" level=' in said


def test_a_traceback_is_a_value_on_the_same_line() -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        made = record("it failed")
        made.exc_info = sys.exc_info()
    said = line(made, (SECRET,))
    assert "\n" not in said and "ValueError: ***" in said


def test_secrets_are_hidden_everywhere_in_the_log() -> None:
    assert SECRET not in line(record(f"Asterisk said {SECRET}: %s", f"expected {SECRET}"), (SECRET,))
    assert "message=an.amid" in line(record("an.amid"), ("amid",)), "too short to be hidden: the log would be unreadable"


def test_repeated_messages_are_dropped_and_counted() -> None:
    limit = Limit()
    first = [record("lost: %s", n, at=100.0 + n) for n in range(MAX_PER_WINDOW + 5)]
    assert [limit.filter(made) for made in first] == [True] * MAX_PER_WINDOW + [False] * 5
    assert "further records like this are left out for 51 s" in line(first[MAX_PER_WINDOW - 1])
    assert limit.filter(record("another", at=101.0)), "one kind does not silence others"
    assert limit.filter(record("lost: %s", 1, at=101.0, child="broker")), "nor one child"
    after = record("lost: %s", 1, at=100.0 + WINDOW_S)
    assert limit.filter(after) and " left_out=5 " in line(after)
    assert limit.filter(record("lost: %s", 1, at=1.0)), "a clock that was set back silences nothing"


def test_debug_messages_are_never_dropped() -> None:
    limit = Limit()
    assert all(limit.filter(record("sent", level=logging.DEBUG)) for _ in range(MAX_PER_WINDOW * 2))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[socket.socket]:
    """What journald would hear."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
        there.bind(str(tmp_path / "journal"))
        there.settimeout(10)
        yield there


def test_the_journal_gets_fields(journal: socket.socket) -> None:
    with closing(Journal(Fields({"process": "reader", "server": "pbx1"}), journal.getsockname())) as handler:
        handler.emit(record("two\nlines", level=logging.ERROR))
    entry = journal.recv(65536)
    assert entry.startswith(b"MESSAGE\n" + (9).to_bytes(8, "little") + b"two\nlines\n")
    assert entry.endswith(b"PRIORITY=3\nSYSLOG_IDENTIFIER=amid\nAMID_PROCESS=reader\nAMID_SERVER=pbx1\n")


def test_without_a_journal_only_the_fields_are_lost(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with closing(Journal(Fields({"process": "broker"}), str(tmp_path / "nobody"))) as handler:
        handler.emit(record("still said"))
    assert 'process=broker message="still said"' in capfd.readouterr().err


def test_a_record_that_cannot_be_formatted_ends_nothing(journal: socket.socket, capfd: pytest.CaptureFixture[str]) -> None:
    """With the journal it raised the error where the record was logged, and so ended the process."""
    for made in (Journal(Fields({}), journal.getsockname()), Stderr(Fields({}))):
        with closing(made) as handler:
            handler.emit(record("%d calls", "many"))
    assert capfd.readouterr().err.count("cannot log '%d calls'") == 2


def test_stderr_is_the_journal_only_if_systemd_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stderr.st_dev}:{stderr.st_ino}")
    assert logs._is_journal()
    monkeypatch.setenv("JOURNAL_STREAM", f"{stderr.st_dev}:{stderr.st_ino + 1}")
    assert not logs._is_journal()


def test_configuration_errors_do_not_show_values() -> None:
    server = {"host": f"{SECRET}:1", "username": f"a\n{SECRET}", "secret": [SECRET]}
    raw = {"servers": {"pbx1": server}, "curve": {"secret_key": SECRET}, "callers": {"x": {"key": SECRET}}}
    with pytest.raises(ConfigError) as wrong:
        check(raw, "amid.toml", Path())
    assert len(str(wrong.value).splitlines()) >= 5 and SECRET not in str(wrong.value)


REJECTED = f"Asterisk Call Manager/9\r\nResponse: Error\r\nMessage: {SECRET}\r\n\r\n"


@pytest.mark.parametrize("said", [f"Asterisk, or {SECRET}\r\n", REJECTED], ids=["greeting", "login"])
def test_a_secret_in_the_pbxs_answer_is_hidden(daemon_for: StartDaemon, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        keys = {"host": "127.0.0.1", "port": there.getsockname()[1], "username": "amid", "secret": SECRET}
        daemon = daemon_for({"pbx1": keys}, start=False).start(wait=False)
        there.settimeout(BOUND_S)
        connection, _ = there.accept()
        with connection:
            connection.sendall(said.encode())
            eventually(lambda: "***" in daemon.log.read_text(), "what it said is logged")
        assert SECRET not in daemon.log.read_text()


# ── the level of a running daemon ──


@pytest.fixture
def quiet(daemon_for: StartDaemon, pbx: SimulatedPbx) -> Daemon:
    return daemon_for({"pbx1": table(pbx)}, log_level="warning")


def shows(daemon: Daemon, process: str, level: str) -> bool:
    return any(f"level={level} process={process} " in said for said in daemon.log.read_text().splitlines())


def test_a_signal_to_the_supervisor_reaches_every_process(quiet: Daemon) -> None:
    before = pids(quiet)
    quiet.signal("supervisor", signal.SIGUSR1)
    for process in ("supervisor", "broker", "reader", "state"):
        eventually(lambda process=process: shows(quiet, process, "debug"), f"{process} shows all")  # type: ignore[misc]
    pid = quiet.kill("reader pbx1")
    eventually(lambda: quiet.pid("reader pbx1") not in (0, pid), "a successor runs")
    quiet.wait_up("pbx1")
    eventually(lambda: quiet.log.read_text().count("level=debug process=reader") > 1, "which shows all too")
    quiet.signal("supervisor", signal.SIGUSR2)
    eventually(lambda: quiet.log.read_text().count("log level is now warning") == 4, "all four are back")
    assert pids(quiet)["broker"] == before["broker"], "and no process was restarted"


def test_a_signal_to_one_process_affects_only_that_process(quiet: Daemon) -> None:
    before = pids(quiet)
    os.kill(before["broker"], signal.SIGUSR1)
    eventually(lambda: shows(quiet, "broker", "debug"), "it shows all")
    assert not shows(quiet, "reader", "debug") and not shows(quiet, "supervisor", "debug")
    assert quiet.action("Ping")["response"]["Response"] == "Success"
    assert pids(quiet) == before


def test_a_new_log_level_restarts_nothing(quiet: Daemon, pbx: SimulatedPbx) -> None:
    before = pids(quiet)
    quiet.configure({"pbx1": table(pbx)}, log_level="debug")
    quiet.signal("supervisor", signal.SIGHUP)
    for process in ("supervisor", "broker", "reader"):
        eventually(lambda process=process: shows(quiet, process, "debug"), f"{process} shows all")  # type: ignore[misc]
    assert pids(quiet) == before
