"""`amid demo` starts the gateway and prints a URL that a browser can open."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.daemon import BOUND_S, eventually


def test_the_printed_url_opens_the_page_logged_in(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "amid", "--run-dir", str(tmp_path / "run"), "demo", "--seconds", "60"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        url, token = next(found.groups() for line in demo.stdout if (found := re.search(r"(http://\S+)/#token=(\w+)", line)))
        with httpx.Client(base_url=url, trust_env=False) as http:

            def answers() -> bool:
                try:
                    return http.get("/readyz").status_code == 200
                except httpx.ConnectError:
                    return False

            eventually(answers, "the gateway is ready")
            assert "main.js" in http.get("/").text
            logged_in = http.post("/login", content=token).json()
            assert (logged_in["name"], logged_in["admin"]) == ("demo", True)
            assert http.get("/v1/servers", headers={"Amid-Session": logged_in["session"]}).json()[0]["name"] == "demo"
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=BOUND_S)
    assert demo.returncode == 0
