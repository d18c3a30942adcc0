"""The command line: its table of commands, completion, imports, and exit statuses as a process."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from amid.cli import main
from amid.cli.exits import UNWRITABLE
from tests.cli.conftest import Amid
from tests.cli.test_status import account
from tests.client.standin import SILENCE, StandIn, answered, body

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.mark.parametrize("name", main.COMMANDS)
def test_the_command_table_matches_the_commands_help(name: str) -> None:
    entry = main.COMMANDS[name]
    command = getattr(importlib.import_module(entry.module), name)
    assert isinstance(command, click.Command)
    assert command.help


def test_an_unknown_command_is_a_usage_error(amid: Amid) -> None:
    assert amid("nonsense").status == 2


def test_a_misspelt_command_is_suggested(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["stauts"]) == 2
    assert "there is no command 'stauts'; did you mean 'status'?" in capsys.readouterr().err


def test_without_a_daemon_the_error_names_paths_and_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMID_RUN_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "own"))
    monkeypatch.setattr("amid.client.discovery._what_is_in", lambda path: "no socket")
    assert main.run(["action", "Ping"]) == 4
    err = capsys.readouterr().err
    assert f"no amid daemon at {tmp_path} (no socket): start one with `amid run`" in err and "/run/amid" not in err
    monkeypatch.delenv("AMID_RUN_DIR")
    assert main.run(["action", "Ping"]) == 4
    err = capsys.readouterr().err
    for part in ("/run/amid", str(tmp_path / "own/amid"), "amid run", "--run-dir"):
        assert part in err


def test_a_daemon_of_another_directory_is_never_reached(
    daemon: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that names a test daemon, which is down, beside a production daemon in the default
    directory."""
    (tmp_path / "amid").symlink_to(daemon.run_dir)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("AMID_RUN_DIR", raising=False)
    daemon.methods["status"] = lambda params: {}
    assert main.run(["status", "--json"]) == 0, "it is found"
    monkeypatch.setenv("AMID_RUN_DIR", str(tmp_path / "test"))
    for argv in (["status"], ["--run-dir", str(tmp_path / "test"), "status"]):
        capsys.readouterr()
        assert main.run(argv) == 4
        assert f"no amid daemon at {tmp_path}/test (no socket)" in capsys.readouterr().err


def test_a_run_dir_that_is_empty_is_a_usage_error(amid: Amid) -> None:
    assert amid("--run-dir", "", "status").status == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-c", "amid.toml", "--server", "127.0.0.1", "--username", "u"], "--server cannot be combined with -c"),
        (["-c", "amid.toml", "--username", "u"], "--username requires --server"),
        (["--secret-file", "s"], "--secret-file requires --server"),
        (["--name", "pbx2"], "--name requires --server"),
    ],
)
def test_no_option_of_run_is_ignored(amid: Amid, options: list[str], words: str) -> None:
    ended = amid("run", *options)
    assert ended.status == 2
    assert words in ended.err


def completed(daemon: StandIn, args: list[str], incomplete: str) -> list[str]:
    shell = ShellComplete(main.amid, {}, "amid", "_AMID_COMPLETE")
    return [item.value for item in shell.get_completions(["--run-dir", daemon.run_dir, *args], incomplete)]


def test_completion_offers_the_pbxs_actions(daemon: StandIn) -> None:
    listed = [{"name": name, "synopsis": "", "privilege": ""} for name in ("Ping", "PJSIPShowAors", "X")]
    daemon.methods["actions"] = lambda params: listed
    assert completed(daemon, ["action"], "p") == ["Ping", "PJSIPShowAors"]


def test_completion_offers_servers_events_and_commands(daemon: StandIn) -> None:
    assert completed(daemon, ["action", "--server"], "") == ["pbx1"]
    assert completed(daemon, ["restart"], "p") == ["pbx1"]
    assert completed(daemon, ["events"], "hang") == ["Hangup", "HangupRequest"]
    assert completed(daemon, [], "act") == ["action", "actions"]


def test_completion_is_silent_and_fast_without_a_daemon(
    daemon: StandIn, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    daemon.run_dir, kept = str(tmp_path), daemon.run_dir
    began = time.monotonic()
    assert completed(daemon, ["action"], "") == []
    assert time.monotonic() - began < 2
    assert capsys.readouterr() == ("", "")
    daemon.run_dir = kept


@pytest.mark.parametrize("shell", ["zsh", "fish", "bash"])
def test_completion_prints_a_script(amid: Amid, shell: str) -> None:
    assert f"_AMID_COMPLETE={shell}_complete" in amid("completion", shell).out


def test_an_action_imports_no_more_than_it_needs(daemon: StandIn, process: Start) -> None:
    daemon.methods["action"] = lambda params: answered()
    out, err = process("action", "Ping", before=("-X", "importtime")).communicate(timeout=30)
    assert out.startswith("Response")
    imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert "amid.client.blocking" in imported
    needless = ("rich", "asyncio", "msgspec", "amid.process.child", "amid.supervisor", "amid.reader", "amid.broker")
    assert not {name for name in imported if name.startswith(needless)}


def test_ctrl_c_ends_events_quietly(daemon: StandIn, process: Start) -> None:
    child = process("events", "--json")
    first = _first_line(daemon, child)
    assert json.loads(first)["event"] == "Hangup"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert (child.returncode, err) == (0, "")


def test_ctrl_c_ends_audit_follow_quietly(daemon: StandIn, process: Start) -> None:
    daemon.methods["audit"] = lambda params: {"records": [], "seq": 0, "left_out": 0}
    child = process("audit", "--follow")
    _until(lambda: bool(daemon.asked))
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (0, "", "")


def test_ctrl_c_ends_a_call_with_its_own_status(daemon: StandIn, process: Start) -> None:
    daemon.methods["action"] = lambda params: SILENCE
    child = process("action", "Originate", "--timeout", "60")
    _until(lambda: bool(daemon.asked))
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (130, "")
    assert "Traceback" not in err


def test_ctrl_c_during_the_imports_ends_quietly(process: Start) -> None:
    child = process("status", before=("-X", "importtime"))
    assert child.stderr is not None
    while not child.stderr.readline().endswith("amid.process.descriptors\n"):
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert (child.returncode, "Traceback" in err) == (-signal.SIGINT, False)


def test_an_ignored_ctrl_c_stays_ignored(daemon: StandIn, process: Start) -> None:
    """A shell script starts a command with `&` so."""
    daemon.methods["action"] = lambda params: answered()
    line = "import os, signal, sys; signal.signal(2, signal.SIG_IGN); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    child = process("action", "Ping", before=("-c", line, "-X", "importtime"))
    assert child.stderr is not None
    while not child.stderr.readline().endswith("amid.process.descriptors\n"):
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=30)
    assert (child.returncode, out[:8]) == (0, "Response")


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colours_as_the_environment_says(tmp_path: Path, environment: dict[str, str], coloured: bool) -> None:
    """NO_COLOR counts when it is not empty (no-color.org)."""
    terminal, end = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    subprocess.run([sys.executable, "-m", "amid", "--run-dir", tmp_path, "status"], stderr=end, env=kept | environment, timeout=30)
    os.close(end)
    shown = os.read(terminal, 1000)
    os.close(terminal)
    assert b"unreachable" in shown
    assert (b"\x1b[31m" in shown) == coloured


@pytest.mark.parametrize("option", [["action", "Ping", "--timeout"], ["calls", "--longer"]], ids=" ".join)
@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_a_number_that_cannot_be_is_a_usage_error(amid: Amid, option: list[str], value: str) -> None:
    ended = amid(*option, value)
    assert ended.status == 2
    assert f"Invalid value for '{option[-1]}'" in ended.err


def test_a_closed_pipe_ends_quietly(daemon: StandIn, process: Start) -> None:
    child = process("events")
    assert child.stdout is not None and child.stderr is not None
    _first_line(daemon, child)
    child.stdout.close()
    _publish_until_it_ends(daemon, child)
    assert (child.returncode, child.stderr.read()) == (0, "")


@pytest.mark.parametrize("argv", [["action", "Ping"], ["status", "--json"], ["events"], ["--help"]], ids=" ".join)
def test_a_full_disk_has_its_own_exit_status(daemon: StandIn, argv: list[str]) -> None:
    """The action has run; only its answer could not be written."""
    daemon.methods |= {"action": lambda params: answered(), "status": lambda params: account(daemon)}
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "amid", "--run-dir", daemon.run_dir, *argv]
        child = subprocess.Popen(command, stdout=full, stderr=subprocess.PIPE, text=True)
        _publish_until_it_ends(daemon, child)
    assert child.stderr is not None
    with child.stderr:
        err = child.stderr.read()
    assert child.returncode == UNWRITABLE
    assert "the output cannot be written to stdout: No space left on device" in err
    assert "Traceback" not in err and "Exception ignored" not in err


@pytest.mark.parametrize(
    "argv", [["action", "Originate"], ["status", "--json"], ["restart", "pbx1"], ["keygen", "/nonexistent/key"]], ids=" ".join
)
def test_a_closed_stdout_is_reported_before_anything_is_done(daemon: StandIn, argv: list[str]) -> None:
    line = " ".join([sys.executable, "-m", "amid", "--run-dir", daemon.run_dir, *argv, ">&-"])
    ended = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, text=True, timeout=30)
    assert ended.returncode == UNWRITABLE
    assert "stdout is closed, so nothing was done" in ended.stderr and "Traceback" not in ended.stderr
    assert not daemon.asked


def _first_line(daemon: StandIn, child: subprocess.Popen[str]) -> str:
    """The first event it shows, of those published until it has a cursor."""
    assert child.stdout is not None
    for seq in range(1, 1000):
        daemon.publish(body(seq))
        if select.select([child.stdout], [], [], 0.02)[0]:
            return child.stdout.readline()
    raise AssertionError("nothing was shown")


def _publish_until_it_ends(daemon: StandIn, child: subprocess.Popen[str]) -> None:
    last = daemon.server()["seq"]
    for seq in range(last + 1, last + 1500):
        daemon.publish(body(seq))
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(0.02)
            return
    raise AssertionError("the command has not ended")


def _until(fact: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not fact():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)
