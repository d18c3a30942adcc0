"""Where a client looks for the daemon."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from amid.client.discovery import find_endpoint, run_dirs
from amid.errors import AmidError


def test_a_directory_that_was_named_is_the_only_one() -> None:
    assert run_dirs("/a", {"AMID_RUN_DIR": "/b", "XDG_RUNTIME_DIR": "/c"}) == ["/a"]
    assert run_dirs(None, {"AMID_RUN_DIR": "/b", "XDG_RUNTIME_DIR": "/c"}) == ["/b"]


def test_the_usual_directories_are_looked_for_in_order() -> None:
    assert run_dirs(None, {"AMID_RUN_DIR": "", "XDG_RUNTIME_DIR": "/c"}) == ["/run/amid", "/c/amid"]
    assert run_dirs(None, {}) == ["/run/amid"]


def test_an_empty_directory_is_no_usual_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("rpc")
        with pytest.raises(AmidError, match="no amid daemon at") as caught:
            find_endpoint("", None)
    assert (caught.value.kind, caught.value.sent) == ("unreachable", False)


def test_a_path_that_is_not_utf8_is_said_to_be_that(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    os.mkdir(folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{folder}/rpc")
        with pytest.raises(AmidError, match="not UTF-8"):
            find_endpoint(folder, None)
