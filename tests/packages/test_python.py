"""The wheel and the sdist, installed into environments that have nothing else, and what runs from them."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from contextlib import closing
from pathlib import Path

import pytest

import amid
from tests.daemon import Daemon, eventually
from tests.gateway.conftest import with_gateway
from tests.packages.conftest import TREE, run
from tests.processes.pbx import simulated, table

pytestmark = pytest.mark.skipif(
    os.environ.get("AMID_REQUIRE_PACKAGES") != "1", reason="this installs from PyPI; run with AMID_REQUIRE_PACKAGES=1"
)


def environment(folder: Path, *requirements: str) -> Path:
    """A new virtual environment with these and what they need; its bin directory."""
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin/pip", "install", "-q", *requirements)
    return folder / "bin"


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("tools"), "hatchling", "pipx")


@pytest.fixture(scope="module")
def built(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with both."""
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run([tools / "hatchling", "build", "-d", out], cwd=TREE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    return built / f"amid-{amid.__version__}-py3-none-any.whl"


@pytest.fixture(scope="module")
def sdist(built: Path) -> Path:
    return built / f"amid-{amid.__version__}.tar.gz"


def test_the_packages_are_complete(wheel: Path, sdist: Path) -> None:
    program = {str(file.relative_to(TREE)) for file in (TREE / "amid").rglob("*") if file.is_file() and file.suffix != ".pyc"}
    assert "amid/gateway/page/index.html" in program
    assert program <= set(zipfile.ZipFile(wheel).namelist())
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert program | {"etc/amid.service", "etc/debian/build", "clients/README.md", "LICENSE"} <= names
    assert {name for name in names if name.startswith("tests/")} == {"tests/faults/README.md", "tests/bench/report.png"}
    assert not {name for name in names if "/node_modules/" in name}


def test_without_the_gateway(wheel: Path, tmp_path: Path) -> None:
    bin_ = environment(tmp_path / "venv", str(wheel))
    assert amid.__version__ in run(bin_ / "amid", "--version")
    run(bin_ / "amid", "--run-dir", tmp_path / "run", "demo", "--seconds", "1")
    file = tmp_path / "amid.toml"
    file.write_text('[servers.pbx1]\nhost = "h"\nusername = "u"\nsecret = "s"\n[gateway]\n')
    refused = subprocess.run([bin_ / "amid", "check", "-c", file], capture_output=True, text=True)
    assert refused.returncode == 6
    assert "[gateway]: needs packages that are not installed: run `pip install '.[web]'`" in refused.stderr


class Installed(Daemon):
    """The amid of another environment than the tests'."""

    python: Path

    def launch(self, arguments: list[str]) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([self.python, *arguments], stdout=log, stderr=log, cwd=self.directory)


def test_with_the_gateway(sdist: Path, tmp_path: Path) -> None:
    gateway = with_gateway(tmp_path)
    with simulated() as pbx, closing(Installed(tmp_path, {"pbx1": table(pbx)}, gateway=gateway)) as daemon:
        daemon.python = environment(tmp_path / "venv", f"{sdist}[web]") / "python"
        daemon.start()
        page = eventually(lambda: urllib.request.urlopen(f"http://{gateway['listen']}/").read(), "the gateway serves its page")
        assert page == (TREE / "amid/gateway/page/index.html").read_bytes()


def test_with_pipx(tools: Path, wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPX_HOME", str(tmp_path / "pipx"))
    monkeypatch.setenv("PIPX_BIN_DIR", str(tmp_path / "bin"))
    run(tools / "pipx", "install", "-q", f"{wheel}[web]")
    assert amid.__version__ in run(tmp_path / "bin/amid", "--version")
