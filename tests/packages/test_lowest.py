"""The lowest versions that pyproject.toml allows: a daemon, its command line and its gateway run with them."""

from __future__ import annotations

import json
import os
import tomllib
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests.daemon import BOUND_S, eventually
from tests.gateway.conftest import TOKENS, with_gateway
from tests.packages.conftest import TREE, run
from tests.packages.test_python import Installed, environment
from tests.processes.pbx import simulated, table

pytestmark = pytest.mark.skipif(
    os.environ.get("AMID_REQUIRE_PACKAGES") != "1", reason="installs from PyPI; AMID_REQUIRE_PACKAGES=1 runs it"
)


def floors() -> dict[str, str]:
    """name -> lowest version, of all that `amid[web]` names."""
    project = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
    requirements = [Requirement(text) for text in [*project["dependencies"], *project["optional-dependencies"]["web"]]]
    found = {requirement.name: [s.version for s in requirement.specifier if s.operator == ">="] for requirement in requirements}
    assert all(len(versions) == 1 for versions in found.values()), found
    return {name: version for name, (version,) in found.items()}


@pytest.fixture(scope="module")
def lowest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of an environment with these versions."""
    folder = tmp_path_factory.mktemp("lowest")
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in floors().items()))
    bin_ = environment(folder / "venv", "-c", str(constraints), f"{TREE}[web]")
    installed = json.loads(run(bin_ / "pip", "list", "--format=json", "--disable-pip-version-check"))
    assert {"starlette", "h11", "msgpack"} <= {package["name"] for package in installed}
    return bin_


def test_everything_runs_with_the_lowest_versions(lowest: Path, tmp_path: Path) -> None:
    gateway = with_gateway(tmp_path)
    with simulated() as pbx, closing(Installed(tmp_path, {"pbx1": table(pbx)}, gateway=gateway)) as daemon:
        daemon.python = lowest / "python"
        daemon.start()
        assert daemon.action("Ping")["response"]["Ping"] == "Pong"
        amid: list[str | Path] = [lowest / "amid", "--run-dir", daemon.run_dir]
        assert json.loads(run(*amid, "action", "Ping", "--json"))["response"]["Ping"] == "Pong"
        assert "pbx1" in run(*amid, "status")

        def ask(path: str, body: bytes | None = None) -> Any:
            headers = {"Authorization": f"Bearer {TOKENS['operator']}"}
            request = urllib.request.Request(f"http://{gateway['listen']}{path}", body, headers)
            return urllib.request.urlopen(request, timeout=BOUND_S)

        answer = eventually(lambda: ask("/v1/servers/pbx1/actions/Ping", b"X=1").read(), "the gateway answers")
        assert json.loads(answer)["response"]["Ping"] == "Pong"
        assert b"amid_" in ask("/metrics").read()
        with ask("/v1/events?event=UserEvent") as events:
            events.readline()
            daemon.action("UserEvent", {"UserEvent": "Hello"})
            assert any(b"Hello" in line for line in iter(events.readline, b""))
