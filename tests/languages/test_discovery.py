"""The daemon that a client connects to: with AMID_RUN_DIR only the named one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.daemon import Daemon
from tests.languages.harness import COMMANDS, Harness


@pytest.mark.parametrize("language", COMMANDS)
def test_a_named_directory_is_never_replaced_by_a_default(
    daemon: Daemon, tmp_path: Path, language: str, needs: Callable[[str], None]
) -> None:
    """A client never connects to a daemon in a default directory when the named one is down."""
    needs(language)
    (tmp_path / "amid").symlink_to(daemon.run_dir)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "AMID_RUN_DIR": ""}
    with Harness(language, None, environment) as finds:
        assert finds.result("ping") == {}
    with Harness(language, None, {**environment, "AMID_RUN_DIR": str(tmp_path / "test")}) as named:
        error = named.error("ping")
    assert (error["kind"], error["sent"]) == ("unreachable", False), error
    assert str(tmp_path / "test") in error["message"], error
