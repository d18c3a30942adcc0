"""A program that is only partly installed counts as missing: its tests are skipped with the reason."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import need

BROKEN = {
    "a library is missing": ("echo 'error while loading shared libraries: libx.so' >&2; exit 127", "error while loading shared"),
    "its interpreter is missing": ("#!/nowhere/interpreter", "No such file"),
    "it crashes": ("kill -SEGV $$", "exit status -11"),
    "it hangs": ("exec sleep 1000", "timed out"),
}


def install(folder: Path, script: str) -> str:
    """The name of a program of the PATH, another for each test: what was found out about one is kept."""
    program = folder / f"program-{folder.name}"
    program.write_text(script if script.startswith("#!") else f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program.name


@pytest.fixture(autouse=True)
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(need, "STARTS_S", 0.5)
    monkeypatch.delenv("AMID_REQUIRE_LANGUAGES", raising=False)


@pytest.mark.parametrize(("script", "why"), BROKEN.values(), ids=BROKEN)
def test_a_program_that_does_not_start_is_missing(tmp_path: Path, script: str, why: str) -> None:
    name = install(tmp_path, script)
    with pytest.raises(pytest.skip.Exception) as skipped:
        need.need_programs("sh", name, of="LANGUAGES")
    assert f"{name} does not start (" in str(skipped.value) and why in str(skipped.value)
    assert f"apt install --reinstall {name}" in str(skipped.value)


@pytest.mark.parametrize("status", [0, 1, 5])
def test_a_program_without_the_version_option_is_present(tmp_path: Path, status: int) -> None:
    need.need_programs(install(tmp_path, f"exit {status}"), of="LANGUAGES")
