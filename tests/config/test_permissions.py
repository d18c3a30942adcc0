"""Owners and modes: unsafe files and directories are refused, careless ones cause a warning."""

from __future__ import annotations

import os
import pwd
import struct
from pathlib import Path
from typing import Any

import pytest

from amid.config import load as configuration
from amid.config.report import ConfigError
from tests.config.samples import SERVER, problems, secret_file, without_secret
from tests.processes.tls import certificate

root = pytest.mark.skipif(os.getuid() != 0, reason="only root can change the owner of a file")
OTHER = 65533
"""A user and a group id without an entry on this machine."""


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "amid.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


def minimal(folder: Path, **keys: Any) -> str:
    table = "\n".join(f'{key} = "{value}"' for key, value in {**SERVER, **keys}.items())
    return f'run_dir = "{folder}/run"\n[servers.pbx1]\n{table}\n'


def warnings(file: Path) -> list[str]:
    found: list[str] = []
    configuration.load(file, warn=found.append)
    return found


def refusals(file: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        configuration.load(file)
    return str(caught.value)


# ── files of secrets ──


@pytest.mark.parametrize(("mode", "said"), [(0o602, "can be changed by everybody; chmod o-w"), (0o604, "can be read by everybody")])
@pytest.mark.parametrize("key", ["secret_file", "tokens_file", "secret_key_file", "tls_key"])
def test_a_secret_readable_or_writable_by_everybody_is_refused(tmp_path: Path, key: str, mode: int, said: str) -> None:
    certificate(tmp_path, "own")
    name = secret_file(tmp_path, "geheim\n", mode)
    if key == "tls_key":
        name = "own.key"
        (tmp_path / name).chmod(mode)
    tables: dict[str, dict[str, Any]] = {
        "secret_file": without_secret(secret_file=name),
        "tokens_file": {"servers": {}, "gateway": {"tokens_file": name}},
        "secret_key_file": {"servers": {}, "curve": {"secret_key_file": name}},
        "tls_key": {"servers": {"pbx1": {**SERVER, "tls": True, "tls_cert": "own.pem", "tls_key": name}}},
    }
    assert any(f" {key}: {tmp_path}/{name} {said}" in problem for problem in problems(tables[key], tmp_path))


def test_a_certificate_authority_writable_by_everybody_is_refused(tmp_path: Path) -> None:
    certificate(tmp_path, "own")
    (tmp_path / "own.pem").chmod(0o646)
    (wrong,) = problems({"servers": {"pbx1": {**SERVER, "tls": True, "tls_ca": "own.pem"}}}, tmp_path)
    assert f"tls_ca: {tmp_path}/own.pem can be changed by everybody; chmod o-w" in wrong


@root
def test_a_group_writable_secret_is_refused(tmp_path: Path) -> None:
    name = secret_file(tmp_path, "geheim\n", 0o660)
    os.chown(tmp_path / name, 0, OTHER)
    (wrong,) = problems(without_secret(secret_file=name), tmp_path)
    assert f"can be changed by group {OTHER}; chmod g-w" in wrong


@root
@pytest.mark.parametrize(("group", "warned"), [(OTHER, True), (OTHER - 1, False)], ids=["the callers'", "another"])
def test_a_secret_readable_by_the_callers_group_is_warned_about(tmp_path: Path, group: int, warned: bool) -> None:
    (tmp_path / "run").mkdir(0o750)
    os.chown(tmp_path / "run", 0, OTHER)
    secret_file(tmp_path, "geheim\n", 0o640)
    os.chown(tmp_path / "secret", 0, group)
    text = minimal(tmp_path).replace('secret = "geheim"', 'secret_file = "secret"')
    said = f"can be read by group {OTHER}, whose members can open amid's sockets"
    assert any(said in what for what in warnings(written(tmp_path, text))) is warned


@root
def test_a_systemd_credential_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """0440 root:root: the group bits are the mask of an ACL."""
    secret_file(tmp_path, "geheim\n", 0o440)
    (tmp_path / "secret").rename(tmp_path / "pbx1.secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    text = minimal(tmp_path).replace('secret = "geheim"\n', "")
    assert warnings(written(tmp_path, text)) == []


@root
def test_a_secret_of_another_user_is_refused_unless_root_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = secret_file(tmp_path, "geheim\n")
    os.chown(tmp_path / name, OTHER, OTHER)
    text = minimal(tmp_path).replace('secret = "geheim"', 'secret_file = "secret"')
    file = written(tmp_path, text)
    assert [f"belongs to user {OTHER}" in what for what in warnings(file)] == [True]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert f"secret_file: {tmp_path}/secret belongs to user {OTHER}, who can change it" in refusals(file)


SERVICE = pwd.struct_passwd(("amid", "x", OTHER, OTHER, "", "/", "/usr/sbin/nologin"))
"""The user of the service, with a group of callers beside its own."""


@root
@pytest.mark.parametrize(
    ("owner", "group", "mode", "warned"),
    [(0, 0, 0o600, True), (0, 0, 0o640, True), (0, OTHER, 0o640, False), (0, OTHER - 1, 0o440, False), (OTHER, 0, 0o400, False)],
)
def test_root_is_warned_about_a_secret_that_the_service_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, group: int, mode: int, warned: bool
) -> None:
    monkeypatch.setattr(pwd, "getpwnam", lambda name: {"amid": SERVICE}[name])
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid, OTHER - 1])
    secret_file(tmp_path, "geheim\n", mode)
    os.chown(tmp_path / "secret", owner, group)
    file = written(tmp_path, minimal(tmp_path).replace('secret = "geheim"', 'secret_file = "secret"'), 0o644)
    said = f"{file}: [servers.pbx1] secret_file: {tmp_path}/secret cannot be read by the user amid, which the service runs as"
    assert warnings(file) == [f"{said}; chown amid {tmp_path}/secret"] * warned
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert warnings(file) == [], "an ACL lets the service read a credential"


@root
def test_root_is_not_warned_about_a_secret_with_an_acl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`setfacl -m u:amid:r` lets the service read it, which its mode does not show."""
    monkeypatch.setattr(pwd, "getpwnam", lambda name: {"amid": SERVICE}[name])
    monkeypatch.setattr(os, "getgrouplist", lambda name, gid: [gid])
    secret_file(tmp_path, "geheim\n", 0o640)
    anyone = 2**32 - 1
    entries = [(1, 6, anyone), (2, 4, OTHER), (4, 0, anyone), (0x10, 4, anyone), (0x20, 0, anyone)]  # acl(5): tag, rights, id
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(tmp_path / "secret", "system.posix_acl_access", acl)
    except OSError as error:
        pytest.skip(f"the file system has no ACLs: {error}")
    assert warnings(written(tmp_path, minimal(tmp_path).replace('secret = "geheim"', 'secret_file = "secret"'), 0o644)) == []


# ── amid.toml itself ──

INLINE = {
    "plain": "[servers.pbx1]\nhost = '127.0.0.1'\nusername = 'u'\nsecret = 'geheim'\n",
    "quoted": "[servers.pbx1]\nhost = '127.0.0.1'\nusername = 'u'\n\"secret\" = 'geheim'\n",
    "inline": "servers.pbx1 = {host = '127.0.0.1', username = 'u', secret = 'geheim'}\n",
    "dotted": "servers.pbx1.host = '127.0.0.1'\nservers.pbx1.username = 'u'\nservers.pbx1.secret = 'geheim'\n",
    "the daemon's key": "servers = {}\ncurve = {secret_key = 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7'}\n",
}


@pytest.mark.parametrize("text", INLINE.values(), ids=INLINE)
def test_a_secret_in_a_configuration_readable_by_everybody_is_warned_about(tmp_path: Path, text: str) -> None:
    file = written(tmp_path, f"run_dir = '{tmp_path}/run'\n{text}", 0o604)
    assert warnings(file) == [f"{file}: holds a secret and can be read by everybody; chmod o-r {file}"]
    file.chmod(0o600)
    assert warnings(file) == []


def test_a_secret_in_a_comment_is_ignored(tmp_path: Path) -> None:
    secret_file(tmp_path, "geheim\n")
    text = minimal(tmp_path).replace('secret = "geheim"', 'secret_file = "secret"\nevents = """on"""  # secret = "geheim"')
    assert warnings(written(tmp_path, text, 0o644)) == []


def test_a_configuration_writable_by_everybody_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, minimal(tmp_path), 0o602)
    assert refusals(file) == f"{file}: can be changed by everybody; chmod o-w {file}"


@root
def test_a_group_writable_configuration_is_warned_about(tmp_path: Path) -> None:
    file = written(tmp_path, minimal(tmp_path), 0o660)
    assert warnings(file) == []
    os.chown(file, 0, OTHER)
    assert warnings(file) == [f"{file}: can be changed by group {OTHER}; chmod g-w {file}"]


# ── run_dir and the directories above it ──


def refused_run_dir(folder: Path, run_dir: Path) -> str:
    text = minimal(folder).replace(f'"{folder}/run"', f'"{run_dir}"')
    return refusals(written(folder, text))


def test_a_run_dir_below_a_directory_writable_by_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    said = refused_run_dir(tmp_path, tmp_path / "open/deeper/run")
    assert said == f"{tmp_path}/amid.toml: run_dir: others may write in {tmp_path}/open; chmod go-w {tmp_path}/open"


def test_a_run_dir_in_a_sticky_directory_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp").chmod(0o1777)
    assert configuration.load(written(tmp_path, minimal(tmp_path / "tmp"))).run_dir == f"{tmp_path}/tmp/run"
    assert "others may write in" in refused_run_dir(tmp_path, tmp_path / "tmp"), "but it is none itself"


def test_a_state_dir_below_a_directory_writable_by_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    file = written(tmp_path, f'state_dir = "{tmp_path}/open/state"\n{minimal(tmp_path)}')
    assert refusals(file) == f"{file}: state_dir: others may write in {tmp_path}/open; chmod go-w {tmp_path}/open"


@pytest.mark.parametrize(("variable", "more"), [("STATE_DIRECTORY", ""), ("STATE_DIRECTORY", ":/second"), ("XDG_STATE_HOME", "")])
def test_a_state_dir_from_the_environment_is_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, more: str
) -> None:
    """The error names the variable, because the file does not contain the key."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    monkeypatch.setattr(os, "getuid", lambda: 1)
    monkeypatch.setenv(variable, f"{tmp_path}/open{more}")
    file = written(tmp_path, minimal(tmp_path))
    state_dir = f"{tmp_path}/open" + ("/amid" if variable == "XDG_STATE_HOME" else "")
    assert f"{variable} {state_dir}: others may write in {tmp_path}/open" in refusals(file)


def test_a_relative_state_dir_from_the_environment_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", "relative")
    said = "STATE_DIRECTORY relative: must be an absolute path, without line ends or NUL"
    assert refusals(written(tmp_path, minimal(tmp_path))) == said


@root
def test_a_run_dir_below_another_users_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(0o755)
    os.chown(tmp_path / "theirs", OTHER, OTHER)
    said = refused_run_dir(tmp_path, tmp_path / "theirs/run")
    assert f"{tmp_path}/theirs belongs to user {OTHER}, who can replace what is in it" in said


@pytest.mark.parametrize("way", ["of a link", "behind a link"])
def test_a_run_dir_through_a_symlink_is_checked(tmp_path: Path, way: str) -> None:
    """Both the directory of the symlink and its target are checked."""
    (tmp_path / "open").mkdir()
    (tmp_path / "right").mkdir()
    link = {"of a link": "open/link", "behind a link": "right/link"}[way]
    target = {"of a link": "right", "behind a link": "open"}[way]
    (tmp_path / link).symlink_to(Path("..") / target)
    (tmp_path / "open").chmod(0o777)
    assert f"others may write in {tmp_path}/open;" in refused_run_dir(tmp_path, tmp_path / link / "run")


def test_a_symlink_loop_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert configuration.load(written(tmp_path, minimal(tmp_path / "a"))).run_dir.endswith("a/run"), "starting says what is wrong"
