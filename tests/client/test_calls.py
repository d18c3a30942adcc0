"""Calls of both clients against a stand-in broker: results, errors and timeouts."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import amid
import amid.client
from amid import ActionFailed, AmidError, AsyncClient, CallTimeout, Client, wire
from tests.client.generate import FOLDER, async_methods
from tests.client.standin import SILENCE, StandIn, answered, body
from tests.daemon import BOUND_S, eventually

Run = Callable[..., Any]


def refuse(failure: AmidError) -> Callable[[dict[str, Any]], Any]:
    def method(params: dict[str, Any]) -> Any:
        raise failure

    return method


def test_an_action_returns_its_complete_answer(daemon: StandIn, do: Run) -> None:
    daemon.methods["action"] = lambda params: answered(response={"Response": "Success", "Odd": b"\xff"})
    result = do(daemon.run_dir, "action", "QueueStatus", {"X-1": 2}, server="pbx1", timeout=3.0, until="Done", Queue="support")
    assert result == answered(response={"Response": "Success", "Odd": b"\xff"})
    fields = {"X-1": 2, "Queue": "support"}
    assert daemon.asked[0]["params"] == {
        "action": "QueueStatus", "fields": fields, "server": "pbx1", "timeout": 3.0, "until": "Done"
    }  # fmt: skip


def test_command_returns_output_lines(daemon: StandIn, do: Run) -> None:
    daemon.methods["action"] = lambda params: answered(output=["one", "two"])
    assert do(daemon.run_dir, "command", "core show uptime") == ["one", "two"]
    assert daemon.asked[0]["params"]["fields"] == {"Command": "core show uptime"}


def test_the_other_methods_return_their_results(daemon: StandIn, do: Run) -> None:
    listed = [{"name": "Ping", "synopsis": "", "privilege": ""}]
    daemon.methods |= {"status": lambda p: {"uptime": 1}, "actions": lambda p: listed, "restart": lambda p: p}
    assert do(daemon.run_dir, "ping") == {}
    assert do(daemon.run_dir, "servers")[0]["name"] == "pbx1"
    assert do(daemon.run_dir, "status") == {"uptime": 1}
    assert do(daemon.run_dir, "actions", "pbx1") == listed
    assert do(daemon.run_dir, "restart", "pbx1") == {"server": "pbx1"}


def test_audit_returns_pages(daemon: StandIn, do: Run) -> None:
    page = {"records": [{"seq": 8, "outcome": "denied"}], "seq": 8, "left_out": 0}
    daemon.methods["audit"] = lambda params: page
    assert do(daemon.run_dir, "audit", after=7, limit=1) == page
    assert daemon.asked[0]["params"] == {"after": 7, "limit": 1}


def test_both_clients_have_every_method_of_the_wire_with_the_same_parameters() -> None:
    """The methods of one are coroutines; otherwise they are equal."""
    for method in (*wire.METHODS, "command", "pull", "pull_changes", "changes"):
        blocking, aio = (inspect.signature(getattr(client, method)).parameters for client in (Client, AsyncClient))
        assert list(blocking.values()) == list(aio.values()), method


def test_async_methods_are_generated_from_methods() -> None:
    assert (FOLDER / "async_methods.py").read_text() == async_methods(), "generate them with python -m tests.client.generate"


def test_lazily_imported_names_are_listed() -> None:
    for package in (amid, amid.client):
        assert set(package.__all__) <= set(dir(package))
        assert "AsyncClient" in dir(package)
        assert {"Changes", "AsyncChanges", "Events", "AsyncEvents"} <= set(package.__all__), (
            "what a method returns has a type to name"
        )
        assert all(getattr(package, name) for name in package.__all__)


def cancelling(daemon: StandIn, sent: bool) -> None:
    """The daemon answers `cancel`, and before it the call that was cancelled."""
    error = AmidError("cancelled", "its caller cancelled it", sent=sent)
    ended: list[Any] = []
    daemon.methods["action"] = lambda params: SILENCE

    def cancel(params: dict[str, Any]) -> dict[str, Any]:
        ended.append(params["id"])
        return {"cancelled": 1, "sent": sent}

    daemon.methods["cancel"] = cancel
    daemon.reply = lambda request_id, encoded: [*(wire.pack(wire.error(one, error)) for one in ended), encoded]


@pytest.mark.parametrize("sent", [True, False])
def test_a_call_is_cancelled_from_another_thread(sent: bool) -> None:
    with StandIn() as daemon, Client(daemon.run_dir) as client, ThreadPoolExecutor(1) as threads:
        cancelling(daemon, sent)
        call = threads.submit(client.action, "Originate", timeout=60, call_id="dial-7")
        eventually(lambda: daemon.asked, "it is under way")
        assert client.cancel("dial-7") == {"cancelled": 1, "sent": sent}
        with pytest.raises(AmidError) as ended:
            call.result(BOUND_S)
        assert (ended.value.kind, ended.value.sent) == ("cancelled", sent)
        assert [one["params"] for one in daemon.asked if one["method"] == "cancel"] == [{"id": "dial-7"}]
        daemon.reply = lambda request_id, encoded: [encoded]
        assert client.ping() == {}, "the answer to `cancel`, which comes late, belongs to no other call"
        assert client.cancel("dial-7") == {"cancelled": 0, "sent": False}, "it is over"


@pytest.mark.parametrize("sent", [True, False])
def test_a_call_is_cancelled_from_another_task(sent: bool) -> None:
    async def calls(daemon: StandIn) -> Any:
        async with AsyncClient(daemon.run_dir) as client:
            call = asyncio.create_task(client.action("Originate", timeout=60, call_id="dial-7"))
            await client.ping()
            cancelled = await client.cancel("dial-7")
            with pytest.raises(AmidError) as ended:
                await call
            return cancelled, ended.value.kind, ended.value.sent

    with StandIn() as daemon:
        cancelling(daemon, sent)
        assert asyncio.run(calls(daemon)) == ({"cancelled": 1, "sent": sent}, "cancelled", sent)


def test_a_call_id_belongs_to_one_open_call_at_a_time() -> None:
    with StandIn(action=lambda params: SILENCE) as daemon, Client(daemon.run_dir) as client, ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.action, "Ping", timeout=0.5, call_id="x")
        eventually(lambda: daemon.asked, "it is under way")
        with pytest.raises(AmidError, match="call_id 'x'") as refused:
            client.action("Ping", call_id="x")
        assert refused.value.kind == "invalid_params"
        with pytest.raises(CallTimeout):
            first.result(BOUND_S)
        daemon.methods["action"] = lambda params: answered()
        assert client.action("Ping", call_id="x") == answered()

    async def twice(daemon: StandIn) -> None:
        async with AsyncClient(daemon.run_dir) as client:
            first = asyncio.create_task(client.action("Ping", timeout=60, call_id="x"))
            await client.ping()
            with pytest.raises(AmidError, match="call_id 'x'"):
                await client.action("Ping", call_id="x")
            first.cancel()

    with StandIn(action=lambda params: SILENCE, cancel=lambda params: SILENCE) as other:
        asyncio.run(twice(other))


def test_an_unsent_call_is_cancelled_at_once(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale, Client(str(tmp_path)) as client, ThreadPoolExecutor(1) as threads:
        stale.bind(str(tmp_path / "rpc"))
        call = threads.submit(client.action, "Originate", timeout=60, call_id="x")
        eventually(lambda: client.cancel("x")["cancelled"], "it is cancelled")
        with pytest.raises(AmidError) as ended:
            call.result(BOUND_S)
        assert (ended.value.kind, ended.value.sent) == ("cancelled", False)


def test_pull_returns_a_page_of_events(daemon: StandIn, do: Run) -> None:
    daemon.publish(body(4, Channel="a"), body(5))
    page = do(daemon.run_dir, "pull", "pbx1", {"epoch": 1, "seq": 3}, ["Hangup"], limit=1, timeout=2)
    assert page["events"] == [body(4, Channel="a")] and (page["seq"], page["missed"], page["more"]) == (4, 0, True)
    after = {"epoch": 1, "seq": 3}
    assert daemon.asked[0]["params"] == {"server": "pbx1", "after": after, "names": ["Hangup"], "limit": 1, "timeout": 2}


def test_an_error_of_the_daemon_is_raised_with_kind_and_sent(daemon: StandIn, do: Run) -> None:
    daemon.methods["action"] = refuse(AmidError("action_failed", "no", sent=True, response={"Message": "no"}))
    with pytest.raises(ActionFailed) as caught:
        do(daemon.run_dir, "action", "Hangup")
    assert (caught.value.kind, caught.value.sent, caught.value.response) == ("action_failed", True, {"Message": "no"})


def test_a_directory_without_a_daemon_is_unreachable_at_once(do: Run, tmp_path: Path) -> None:
    with pytest.raises(AmidError, match=str(tmp_path)) as caught:
        do(str(tmp_path), "ping")
    assert (caught.value.kind, caught.value.sent) == ("unreachable", False)
    assert caught.value.__context__ is None, "the traceback begins with it"
    assert "amid run" in caught.value.message


def test_the_socket_of_a_dead_daemon_is_unreachable_within_about_a_second(do: Run, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "rpc"))
    began = time.monotonic()
    with pytest.raises(AmidError, match="rpc") as caught:
        do(str(tmp_path), "action", "Originate", timeout=60.0)
    assert (caught.value.kind, caught.value.sent) == ("unreachable", False)
    assert time.monotonic() - began < 3.0


def test_a_path_too_long_for_a_socket_is_an_error_that_says_so(do: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    monkeypatch.setattr("amid.client.discovery._what_is_in", lambda path: "a socket")
    with pytest.raises(AmidError, match="too long") as caught:
        do(str(deep), "ping")
    assert caught.value.kind == "unreachable"


def test_the_directory_is_found_in_the_environment(daemon: StandIn, do: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMID_RUN_DIR", daemon.run_dir)
    assert do(None, "ping") == {}


def test_a_silent_broker_is_a_timeout_after_the_calls_own(daemon: StandIn, do: Run) -> None:
    daemon.methods["action"] = lambda params: SILENCE
    began = time.monotonic()
    with pytest.raises(CallTimeout) as caught:
        do(daemon.run_dir, "action", "Originate", timeout=0.1)
    assert (caught.value.kind, caught.value.sent) == ("timeout", True)
    assert 1.0 < time.monotonic() - began < 4.0


def test_answers_of_other_calls_and_noise_are_ignored(daemon: StandIn, do: Run) -> None:
    daemon.reply = lambda request_id, encoded: [b"\xc1", wire.pack(wire.result(request_id + 1000, {"not": "yours"})), encoded]
    assert do(daemon.run_dir, "ping") == {}


def test_an_error_without_an_id_belongs_to_the_only_open_call(daemon: StandIn, do: Run) -> None:
    unreadable = wire.pack(wire.error(None, AmidError("invalid_request", "too large")))
    daemon.reply = lambda request_id, encoded: [unreadable]
    with pytest.raises(AmidError, match="too large"):
        do(daemon.run_dir, "ping")


def test_a_client_survives_a_call_without_an_answer(daemon: StandIn) -> None:
    daemon.methods["action"] = lambda params: SILENCE
    with Client(daemon.run_dir) as client:
        with pytest.raises(CallTimeout):
            client.action("Ping", timeout=0.01)
        assert client.ping() == {}


def test_a_client_works_again_when_the_daemon_is_back() -> None:
    with StandIn() as first, Client(first.run_dir) as client:
        assert client.ping() == {}
    with pytest.raises(AmidError) as caught:
        client.ping()
    assert (caught.value.kind, caught.value.sent) == ("unreachable", False)
    with StandIn() as second, Client(endpoint=wire.ipc(second.run_dir, "rpc")) as other:
        assert other.ping() == {}


def test_an_endpoint_without_its_transport_is_explained() -> None:
    with pytest.raises(AmidError, match="an endpoint is tcp://HOST:PORT") as caught:
        Client(endpoint="10.0.0.1:5560").ping()
    assert (caught.value.kind, caught.value.sent) == ("unreachable", False)


def test_threads_do_not_wait_for_each_other() -> None:
    """One thread waits for an unanswered call while the others' calls are answered."""
    with StandIn(action=lambda params: SILENCE) as daemon, Client(daemon.run_dir) as client:
        failed: list[AmidError] = []

        def slow() -> None:
            with pytest.raises(CallTimeout) as caught:
                client.action("Originate", timeout=2.0)
            failed.append(caught.value)

        thread = threading.Thread(target=slow)
        thread.start()
        answers = [client.ping() for _ in range(20)]
        assert answers == [{}] * 20 and not failed
        thread.join(10)
        assert len(failed) == 1


def test_many_async_calls_on_one_socket_get_their_own_replies(daemon: StandIn) -> None:
    """Answered in the reverse order, the first calls long after the others."""
    held: list[bytes] = []

    def backwards(request_id: Any, encoded: bytes) -> list[bytes]:
        held.insert(0, encoded)
        return held if len(held) == 50 else []

    daemon.methods["action"] = lambda params: answered(action_id=params["fields"]["N"])
    daemon.reply = backwards

    async def calls() -> list[Any]:
        async with AsyncClient(daemon.run_dir) as client:
            return await asyncio.gather(*(client.action("Ping", N=n) for n in range(50)))

    assert [result["action_id"] for result in asyncio.run(calls())] == list(range(50))


def test_a_cancelled_async_call_leaves_the_others_alone(daemon: StandIn) -> None:
    daemon.methods |= dict.fromkeys(("action", "cancel"), lambda params: SILENCE)

    async def calls() -> Any:
        async with AsyncClient(daemon.run_dir) as client:
            doomed = asyncio.create_task(client.action("Originate", timeout=60))
            await client.ping()
            doomed.cancel()
            with pytest.raises(asyncio.CancelledError):
                await doomed
            assert client._waiting == {}
            return await client.ping()

    assert asyncio.run(calls()) == {}
    action, cancel = (next(one for one in daemon.asked if one["method"] == method) for method in ("action", "cancel"))
    assert cancel["params"] == {"id": action["id"]}, "and the daemon is notified"


def test_other_tasks_run_between_large_answers(daemon: StandIn) -> None:
    """All answers that had arrived were decoded in one pass of the loop, which may take seconds."""
    daemon.methods["action"] = lambda params: answered(output=["x" * 50_000])

    async def passes() -> set[int]:
        """The passes of the loop in which answers are given."""
        passed, given = 0, set()

        async def count() -> None:
            nonlocal passed
            while True:
                passed += 1
                await asyncio.sleep(0)

        async with AsyncClient(daemon.run_dir) as client, asyncio.TaskGroup() as group:
            await client.ping()
            counting = group.create_task(count())
            calls = [asyncio.ensure_future(client.action("Ping")) for _ in range(20)]
            for call in calls:
                call.add_done_callback(lambda _: given.add(passed))
            while len(daemon.asked) < 21:
                await asyncio.sleep(0.01)
            time.sleep(0.5)  # the loop is busy while the answers arrive
            await asyncio.gather(*calls)
            counting.cancel()
        return given

    assert len(asyncio.run(passes())) > 10
