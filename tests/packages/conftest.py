"""Packages built from this tree, once a run, and machines to install them on. Skipped with a reason
where impossible."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.pbx import Pbx, running
from tests.need import need
from tests.packages.machine import RELEASES, Machine, missing_prerequisite, nspawn

TREE = Path(__file__).parent.parent.parent
BUILD = "apt-get install -qq --no-install-recommends python3-pip && exec /tree/etc/debian/build /out"
BUILD_S = 300
"""Seconds that a build may take; it takes 15."""


def run(*argv: str | Path, timeout: float = BUILD_S) -> str:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    assert done.returncode == 0, f"{argv} ended with {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def fetch_wheels(python: str, folder: Path, *more: str) -> None:
    """The wheels needed to build and run amid with this Python, and `more`, fetched with this machine's pip configuration."""
    project = tomllib.loads((TREE / "pyproject.toml").read_text())
    needed = [*project["build-system"]["requires"], *project["project"]["dependencies"], *more]
    for extra in ("web", "nats"):
        needed += project["project"]["optional-dependencies"][extra]
    pip = (sys.executable, "-m", "pip")
    run(*pip, "wheel", "-q", "--no-deps", "-w", folder, "nkeys")  # pure Python, and published as source only
    target = ("--only-binary=:all:", f"--python-version={python}", f"--find-links={folder}")
    run(*pip, "download", "-q", *target, "-d", folder, *needed)


@pytest.fixture(scope="session", params=RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    """Each Debian release in turn."""
    name: str = request.param
    need(missing_prerequisite(name), "PACKAGES")
    return name


@pytest.fixture(scope="session")
def package(release: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package, built on a machine of its release."""
    out = tmp_path_factory.mktemp(release)
    fetch_wheels(RELEASES[release], out / "wheels")
    binds = [f"--bind-ro={TREE}:/tree", f"--bind={out}:/out"]
    pip = ["--setenv=PIP_NO_INDEX=1", "--setenv=PIP_FIND_LINKS=/out/wheels"]
    run(*nspawn(release, *binds, *pip, "--pipe", "sh", "-c", BUILD))
    (built,) = out.glob("*.deb")
    return built


@pytest.fixture(scope="session")
def older(package: Path) -> Path:
    """The same package as an older version of itself."""
    unpacked = package.parent / "older"
    run("dpkg-deb", "--raw-extract", package, unpacked)
    control = unpacked / "DEBIAN/control"
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 0~"))
    built = package.parent / "older.deb"
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", unpacked, built)
    return built


@pytest.fixture
def machine(release: str, package: Path, tmp_path: Path) -> Iterator[Machine]:
    """A machine without amid that knows the address of the test's PBX."""
    machine = Machine(release, [TREE, package.parent], tmp_path / "notify")
    try:
        machine.write("/etc/hosts", "127.0.0.1 localhost pbx.example\n")
        yield machine
    finally:
        machine.close()


@pytest.fixture(scope="session")
def pbx(release: str) -> Iterator[Pbx]:
    """A real Asterisk: the oldest for the old release, the newest for the new one."""
    with running({"bookworm": "asterisk-16", "trixie": "asterisk-22"}[release]) as pbx:
        yield pbx
