"""Recorded calls over HTTP and in the Python client, with the simulated PBX."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from amid import Client
from amid.gateway.recorded_calls import describe_missing
from tests.daemon import Daemon, eventually, gateway_table
from tests.recorder.pbx import simulated

TOKENS = """
[all]
token = "all-0123456789abcdef-0123"
history = true

[masked]
token = "masked-0123456789abcdef-0123"
history = "masked"

[nothing]
token = "nothing-0123456789abcdef-0123"
"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("recording")
    with simulated() as table:
        tables = {"recorder": {}, "callers__local": {"history": True}, "gateway": gateway_table(directory, TOKENS)}
        daemon = Daemon(directory, {"pbx1": table}, **tables)
        try:
            daemon.start()
            eventually(lambda: len(daemon.result("calls", {"lost": True})["calls"]) > 5, "calls are recorded")
            yield daemon
        finally:
            daemon.close()


def get(daemon: Daemon, token: str, path: str) -> httpx.Response:
    listen = daemon.file.read_text().partition('listen = "')[2].partition('"')[0]
    headers = {"Authorization": f"Bearer {token}-0123456789abcdef-0123"}
    return httpx.get(f"http://{listen}{path}", headers=headers, timeout=20, trust_env=False)


def test_calls_and_call(recording: Daemon) -> None:
    page = get(recording, "all", "/v1/calls?limit=3&lost=true&longer=0").json()
    assert len(page["calls"]) == 3 and page["more"]
    linkedid = page["calls"][0]["linkedid"]
    found = get(recording, "all", f"/v1/calls/{linkedid}?all=1").json()
    assert found["call"]["linkedid"] == linkedid and found["ladder"] and found["events"]
    with Client(str(recording.run_dir)) as client:
        assert client.recorded_call(linkedid)["ladder"] == found["ladder"]
        assert client.calls(limit=1)["calls"]


def test_the_rights_of_tokens(recording: Daemon) -> None:
    assert get(recording, "nothing", "/v1/calls").status_code == 403
    assert get(recording, "masked", "/v1/calls?masked=false").status_code == 200
    assert get(recording, "masked", "/v1/calls?number=5551234567").status_code == 403
    assert get(recording, "masked", "/v1/calls/1.1?all=true").status_code == 403


def test_an_invalid_query_is_refused(recording: Daemon) -> None:
    for query in ("limit=many", "lost=perhaps", "since=yesterday", "unknown=1", "ended_by=nobody"):
        answer = get(recording, "all", f"/v1/calls?{query}")
        assert answer.status_code == 400 and query.partition("=")[0] in answer.text, query


def test_a_call_that_was_not_recorded_is_404(recording: Daemon) -> None:
    answer = get(recording, "all", "/v1/calls/1.1")
    assert (answer.status_code, answer.json()) == (404, {"error": "the recorder has no call 1.1 of server pbx1"})
    assert get(recording, "nothing", "/v1/calls/1.1").status_code == 403, "a token without the right learns nothing"


def test_a_call_may_be_missing_because_of_a_file_that_cannot_be_read() -> None:
    found = {"server": "pbx1", "call": None, "ladder": [], "unreadable": ["pbx1-2026-11-27.db: malformed"]}
    assert describe_missing("1.1", found).endswith("; files that cannot be read: pbx1-2026-11-27.db: malformed")
