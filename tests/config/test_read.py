"""Reading configuration files: encodings, unreadable files, and renewed files."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from amid.config import load as configuration
from amid.config.read import UnreadableError, read_bytes
from amid.config.report import ConfigError
from tests.config.samples import SERVER, TOKENS, check, problems, secret_file, without_secret
from tests.processes.tls import certificate

# ── encodings ──


def test_a_byte_order_mark_is_ignored_in_all_files(tmp_path: Path) -> None:
    key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
    for name, text in (("secret", "geheim\n"), ("key", f"{key}\n"), ("tokens.toml", TOKENS)):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
    file = tmp_path / "amid.toml"
    table = '[servers.pbx1]\nhost = "h"\nusername = "käse"\nsecret_file = "secret"\n'
    more = '[curve]\nsecret_key_file = "key"\n[gateway]\ntokens_file = "tokens.toml"\n'
    file.write_text(f'run_dir = "{tmp_path}/run"\n{table}{more}', encoding="utf-8-sig")
    config = configuration.load(file)
    assert (config.servers["pbx1"].username, config.servers["pbx1"].secret, config.curve.secret_key) == ("käse", "geheim", key)
    assert config.gateway is not None and config.gateway.tokens["crm"].token == "0123456789abcdefghij"


def test_files_are_utf8_whatever_the_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own default for a text file, as it is in an ISO-8859-1 locale."""
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_bytes("schlüssel\n".encode())
    file = tmp_path / "amid.toml"
    file.write_bytes('[servers.pbx1]\nhost = "h"\nusername = "käse"\nsecret_file = "secret"\n'.encode())
    monkeypatch.setattr(io, "text_encoding", lambda encoding, *_: encoding or "iso-8859-1")
    server = configuration.load(file).servers["pbx1"]
    assert (server.username, server.secret) == ("käse", "schlüssel")


@pytest.mark.parametrize("odd", ["\u2028", "\x0b", "\x85", "\x1c", "\r"], ids=ascii)
def test_a_secret_ends_at_its_line_end_and_nowhere_else(tmp_path: Path, odd: str) -> None:
    """`str.splitlines` splits at each of these, and half of the secret would be sent."""
    (tmp_path / "secret").touch(0o600)
    (tmp_path / "secret").write_bytes(f"ge{odd}heim\r\nmore".encode())
    if odd == "\r":
        (wrong,) = problems(without_secret(secret_file="secret"), tmp_path)
        assert wrong.endswith("secret must be one line of text that is not empty")
        return
    assert check(without_secret(secret_file="secret"), tmp_path).servers["pbx1"].secret == f"ge{odd}heim"


# ── what cannot be read is a problem like others, for SIGHUP too ──


def test_an_endless_file_is_refused() -> None:
    (wrong,) = problems(without_secret(secret_file="/dev/zero"))
    assert "[servers.pbx1] secret_file: /dev/zero: larger than" in wrong
    with pytest.raises(ConfigError, match="/dev/zero: larger than"):
        configuration.load(Path("/dev/zero"))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change its user")
def test_an_inaccessible_credentials_directory_is_ignored(tmp_path: Path) -> None:
    """In a process of another user, where `Path.exists` raises."""
    (tmp_path / "credentials").mkdir(0o700)
    code = (
        "import os; from pathlib import Path; from amid.config.load import check\nfrom amid.config.report import ConfigError\n"
        "os.setgid(65533); os.setuid(65533)\n"
        "try: check({'servers': {'pbx1': {'host': 'h', 'username': 'u'}}}, 'amid.toml', Path('/'))\n"
        "except ConfigError as error: print(error)\n"
    )
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd="/")
    assert "no secret; set secret_file or secret, or provide a systemd credential named pbx1.secret" in done.stdout, done.stderr
    assert "(only the service sees it; `amid check` needs CREDENTIALS_DIRECTORY=/run/credentials/amid.service)" in done.stdout


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change its user")
def test_an_unreadable_file_is_reported_with_the_user(tmp_path: Path) -> None:
    file = tmp_path / secret_file(tmp_path, "geheim\n")
    os.seteuid(65533)
    try:
        with pytest.raises(UnreadableError) as caught:
            read_bytes(file)
    finally:
        os.seteuid(0)
    assert str(caught.value) == f"{file}: the user 65533 may not read it"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can change its user")
@pytest.mark.parametrize(
    ("place", "raw"),
    [
        ("[curve] secret_key_file", {**without_secret(secret="geheim"), "curve": {"secret_key_file": "secret"}}),
        ("[servers.pbx1] secret_file", without_secret(secret_file="secret")),
        ("[servers.pbx1] tls_key", without_secret(secret="geheim", tls=True, tls_key="secret")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_unreadable_key_file_is_reported_with_its_key_and_the_user(tmp_path: Path, place: str, raw: dict[str, Any]) -> None:
    file = tmp_path / secret_file(tmp_path, "geheim\n")
    os.seteuid(65533)
    try:
        wrong = problems(raw, tmp_path)
    finally:
        os.seteuid(0)
    assert f"amid.toml: {place}: {file}: the user 65533 may not read it" in wrong


def test_a_removed_working_directory_is_tolerated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    monkeypatch.setenv("AMID_RUN_DIR", "run")
    (tmp_path / "gone").rmdir()
    (wrong,) = problems({"servers": {"pbx1": SERVER}}, Path("."))
    assert wrong == "AMID_RUN_DIR run: must be an absolute path, without line ends or NUL"


# ── every named file counts ──


@pytest.mark.parametrize("name", ["own.pem", "own.key", "ca.pem", "secret", "key", "tokens.toml"])
def test_a_renewed_file_changes_the_configuration(tmp_path: Path, name: str) -> None:
    file = tmp_path / "amid.toml"
    table = '[servers.pbx1]\nhost = "h"\nusername = "u"\nsecret_file = "secret"\ntls = true\n'
    tls = 'tls_ca = "ca.pem"\ntls_cert = "own.pem"\ntls_key = "own.key"\n'
    more = '[curve]\nsecret_key_file = "key"\n[gateway]\ntokens_file = "tokens.toml"\n'
    file.write_text(f'run_dir = "{tmp_path}/run"\n{table}{tls}{more}')
    write_named_files(tmp_path)
    before = configuration.load(file)
    assert configuration.load(file) == before
    renewed = {"own.pem": "own", "own.key": "own", "ca.pem": "ca"}.get(name)
    if renewed:
        certificate(tmp_path, renewed)
    elif name == "key":
        (tmp_path / name).write_text("D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs\n")
    else:
        (tmp_path / name).write_text((tmp_path / name).read_text().replace("ge", "ver").replace("abc", "xyz"))
    assert configuration.load(file) != before


def write_named_files(folder: Path) -> None:
    certificate(folder, "own")
    certificate(folder, "ca")
    (folder / "own.key").chmod(0o600)
    for name, text in (("secret", "geheim\n"), ("key", "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7\n"), ("tokens.toml", TOKENS)):
        (folder / name).touch(0o600)
        (folder / name).write_text(text)
