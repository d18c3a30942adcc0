"""etc/Containerfile, built by buildah on a root of provision.sh instead of its base image, and the
daemon in it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import amid
from tests.need import need
from tests.packages.conftest import TREE, fetch_wheels, run
from tests.packages.machine import RELEASES, ROOT, missing_prerequisite

RELEASE = "trixie"


@pytest.fixture
def image(tmp_path: Path) -> Iterator[list[str | Path]]:
    """The image is called `amid` in the store of this command line."""
    need(missing_prerequisite(RELEASE), "PACKAGES")
    fetch_wheels(RELEASES[RELEASE], tmp_path / "wheels")
    pip = tmp_path / "pip.conf"
    pip.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    store = tmp_path / "store"
    buildah: list[str | Path] = ["buildah", "--root", store, "--runroot", tmp_path / "runroot", "--storage-driver=vfs"]
    base = run(*buildah, "from", "scratch").strip()
    run(*buildah, "add", "--quiet", base, ROOT / RELEASE, "/")
    run(*buildah, "commit", "--quiet", "--rm", base, f"docker.io/library/debian:{RELEASE}-slim")
    volumes = [f"--volume={tmp_path}/wheels:/wheels:ro", f"--volume={pip}:/etc/pip.conf:ro"]
    options = ["--pull-never", "--isolation=chroot", "--network=host", *volumes]
    run(*buildah, "build", *options, "--file", TREE / "etc/Containerfile", "--tag", "amid", TREE)
    yield buildah
    shutil.rmtree(store)


def test_the_image_runs_the_daemon(image: list[str | Path]) -> None:
    container = run(*image, "from", "--pull-never", "localhost/amid").strip()
    inside = [*image, "run", "--isolation=chroot", container, "--"]
    assert run(*inside, "id", "--user", "--name") == "amid\n"
    assert run(*inside, "amid", "--version") == f"amid {amid.__version__}\n"
    run(*inside, "test", "-w", "/var/lib/amid")
    assert "amid runs in /run/amid" in run(*inside, "amid", "demo", "--seconds", "1"), "the whole daemon"
