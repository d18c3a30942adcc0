"""Where a client looks for the daemon."""

from __future__ import annotations

import contextlib
import grp
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from amid.client.discovery import find_endpoint, run_dirs
from amid.errors import AmidError


def test_a_named_directory_is_the_only_one_searched() -> None:
    assert run_dirs("/a", {"AMID_RUN_DIR": "/b", "XDG_RUNTIME_DIR": "/c"}) == ["/a"]
    assert run_dirs(None, {"AMID_RUN_DIR": "/b", "XDG_RUNTIME_DIR": "/c"}) == ["/b"]


def test_the_default_directories_are_searched_in_order() -> None:
    assert run_dirs(None, {"AMID_RUN_DIR": "", "XDG_RUNTIME_DIR": "/c"}) == ["/run/amid", "/c/amid"]
    assert run_dirs(None, {}) == ["/run/amid"]


def test_an_empty_directory_name_is_not_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("rpc")
        with pytest.raises(AmidError, match="no amid daemon at") as caught:
            find_endpoint("", None)
    assert (caught.value.kind, caught.value.sent) == ("unreachable", False)


def test_a_path_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    os.mkdir(folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/rpc")
        with pytest.raises(AmidError, match="not UTF-8"):
            find_endpoint(folder, None)


@contextlib.contextmanager
def not_root() -> Iterator[None]:
    """As a user to whom modes of files mean something."""
    if os.getuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """A run_dir with a socket, below a directory that everybody may enter."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{directory}/rpc")
        yield directory
    shutil.rmtree(directory)


def some_group() -> grp.struct_group:
    """Of root, any; of others, one that they are in."""
    return next(group for group in grp.getgrall() if group.gr_gid and (os.getuid() == 0 or group.gr_gid in os.getgroups()))


def test_a_user_who_may_not_enter_the_directory_is_told_which_group_may(run_dir: Path) -> None:
    group = some_group()
    os.chown(run_dir, -1, group.gr_gid)
    run_dir.chmod(0o010)
    with not_root(), pytest.raises(AmidError) as caught:
        find_endpoint(str(run_dir), None)
    run_dir.chmod(0o700)
    assert (caught.value.kind, caught.value.sent) == ("unreachable", False)
    assert caught.value.message.startswith(f"no permission to use {run_dir}: ")
    assert f"usermod --append --groups {group.gr_name} USER" in caught.value.message and "log in again" in caught.value.message


def test_a_user_who_may_not_write_the_socket_is_told_whose_it_is(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chmod(run_dir / "rpc", 0o600)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # it asks for the real user, which no test can change
    with pytest.raises(AmidError, match="no permission") as caught:
        find_endpoint(str(run_dir), None)
    assert str(run_dir / "rpc") in caught.value.message
    assert "usermod" not in caught.value.message, "its group has no permission either"


def test_a_default_directory_without_permission_is_reported_first(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amid.client.discovery.run_dirs", lambda named, environ: [f"{run_dir}/none", str(run_dir)])
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(AmidError, match=f"no permission to use {run_dir}/rpc"):
        find_endpoint(None, None)
