"""Text is UTF-8 whatever the locale: the bytes of a command or file are sent unchanged."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import locales
from tests.client.standin import StandIn, answered
from tests.daemon import BOUND_S

NAME, SECRET = "käse", "schlüssel-€"


@pytest.fixture(params=["ISO-8859-1", "C", "ASCII"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    made = {"ISO-8859-1": lambda: locales.latin1(tmp_path), "C": locales.plain_c, "ASCII": locales.ascii_only}
    environment: dict[str, str] = made[request.param]()
    return environment


def amid(environment: dict[str, str], *argv: str) -> bytes:
    line = [sys.executable, "-m", "amid", *argv]
    done = subprocess.run(line, env=environment, capture_output=True, timeout=BOUND_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_command_sends_and_shows_text_as_utf8(daemon: StandIn, environment: dict[str, str]) -> None:
    daemon.methods["action"] = lambda params: answered(response={"Response": "Success", "Name": params["fields"]["Name"]})
    out = amid(environment, "--run-dir", daemon.run_dir, "action", "UserEvent", f"Name={NAME}", "Odd=\udcff", "--json")
    assert daemon.asked[-1]["params"]["fields"] == {"Name": NAME, "Odd": b"\xff"}
    assert json.loads(out)["response"]["Name"] == NAME
    assert NAME.encode() in amid(environment, "--run-dir", daemon.run_dir, "action", "UserEvent", f"Name={NAME}")


def test_a_directory_whose_name_is_utf8_is_found(daemon: StandIn, environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to(daemon.run_dir)
    daemon.methods["action"] = lambda params: answered()
    amid(environment, "--run-dir", str(tmp_path / NAME), "action", "Ping", "--json")
    amid({**environment, "AMID_RUN_DIR": str(tmp_path / NAME)}, "action", "Ping", "--json")


CHALLENGE = "123456789"


def login(listening: socket.socket) -> dict[str, str]:
    """The headers of the first Login action after a Challenge, as Latin-1."""
    with listening.accept()[0] as session:
        session.settimeout(BOUND_S)
        session.sendall(b"Asterisk Call Manager/9.0.0\r\n")
        asked = packet(session)
        assert asked["Action"] == "Challenge", asked
        answer = f"Response: Success\r\nActionID: {asked['ActionID']}\r\nChallenge: {CHALLENGE}\r\n\r\n"
        session.sendall(answer.encode())
        return packet(session)


def packet(session: socket.socket) -> dict[str, str]:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += session.recv(4096) or pytest.fail(f"it ended after {data!r}")
    return dict(re.findall(r"(.+?): (.*)\r\n", data.decode("latin-1")))


@pytest.mark.parametrize("way", ["a file", "options"])
def test_the_daemon_logs_in_with_the_bytes_of_the_files(environment: dict[str, str], tmp_path: Path, way: str) -> None:
    """File names are UTF-8 too: of the secret and of run_dir. A byte-order mark is ignored."""
    secret, file, run_dir = tmp_path / NAME, tmp_path / "amid.toml", f"{tmp_path}/{NAME}.run"
    secret.touch(0o600)
    secret.write_bytes(f"\ufeff{SECRET}\n".encode())
    with socket.create_server(("127.0.0.1", 0)) as listening, open(tmp_path / "log", "wb") as log:
        listening.settimeout(BOUND_S)
        port = listening.getsockname()[1]
        table = f'host = "127.0.0.1"\nport = {port}\nusername = "{NAME}"\nsecret_file = "{NAME}"\n'
        file.write_bytes(f'\ufeffrun_dir = "{run_dir}"\n[servers.pbx1]\n{table}'.encode())
        argv = ["run", "-c", str(file)]
        if way == "options":
            options = ["--server", f"127.0.0.1:{port}", "--username", NAME, "--secret-file", str(secret)]
            argv = ["--run-dir", run_dir, "run", *options]
        with subprocess.Popen([sys.executable, "-m", "amid", *argv], env=environment, stderr=log) as run:
            try:
                sent = login(listening)
            finally:
                run.terminate()
    assert sent["Username"] == NAME.encode().decode("latin-1")
    assert sent["Key"] == hashlib.md5(f"{CHALLENGE}{SECRET}".encode()).hexdigest()
    assert os.path.isdir(run_dir) and run.returncode == 0, (tmp_path / "log").read_text()
