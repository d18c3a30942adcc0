"""The files of a server have one recorder."""

from __future__ import annotations

from pathlib import Path

import pytest

from amid.recorder.claim import Claim
from amid.recorder.store import StoreError


def test_only_one_recorder_has_the_files_of_a_server(tmp_path: Path) -> None:
    first, second, other = Claim(tmp_path, "pbx1"), Claim(tmp_path, "pbx1"), Claim(tmp_path, "pbx2")
    first.take()
    first.take()
    other.take()
    with pytest.raises(StoreError, match=r"another amid records server pbx1 in .*`state_dir`"):
        second.take()
    first.release()
    second.take()
    for claim in (second, other):
        claim.release()


def test_a_directory_that_was_replaced_is_claimed_as_well(tmp_path: Path) -> None:
    directory = tmp_path / "recordings"
    directory.mkdir()
    first, second = Claim(directory, "pbx1"), Claim(directory, "pbx1")
    first.take()
    directory.rename(tmp_path / "away")
    directory.mkdir()
    first.take()
    with pytest.raises(StoreError, match="another amid records"):
        second.take()
    first.release()


def test_a_directory_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"cannot create .*pbx1.lock: No such file or directory"):
        Claim(tmp_path / "none", "pbx1").take()
