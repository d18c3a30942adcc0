"""Event streams of both clients against stand-in sockets."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from amid import AmidError, AsyncClient, CallTimeout, Client, Event, Gap
from amid.client import event
from tests.client.standin import StandIn, body
from tests.daemon import BOUND_S, eventually

Listen = Callable[..., list[Any]]


def _blocking(daemon: StandIn, then: Callable[[], None], count: int, *names: str, **options: Any) -> list[Any]:
    with Client(daemon.run_dir) as client, client.events(*names, timeout=5.0, **options) as stream:
        then()
        return [*itertools.islice(stream, count), stream.missed]


def _aio(daemon: StandIn, then: Callable[[], None], count: int, *names: str, **options: Any) -> list[Any]:
    async def listen() -> list[Any]:
        async with AsyncClient(daemon.run_dir) as client, client.events(*names, timeout=5.0, **options) as stream:
            then()
            return [*[await anext(stream) for _ in range(count)], stream.missed]

    return asyncio.run(listen())


@pytest.fixture(params=[_blocking, _aio], ids=["blocking", "aio"])
def listen(request: pytest.FixtureRequest) -> Listen:
    """Subscribe, call `then`, and return the next `count` items and the number of missed events."""
    chosen: Listen = request.param
    return chosen


def test_events_after_the_subscription_are_delivered(daemon: StandIn, listen: Listen) -> None:
    def publish() -> None:
        daemon.publish(body(1, "Newchannel", Channel="a"), body(2, "Hangup", Channel="a"))

    items = listen(daemon, publish, 2)
    assert [(item.event, item["Channel"]) for item in items[:2]] == [("Newchannel", "a"), ("Hangup", "a")]
    assert items[2] == 0


def test_names_are_exact_but_for_their_case(daemon: StandIn, listen: Listen) -> None:
    def publish() -> None:
        daemon.publish(body(1, "HangupRequest"), body(2, "Newstate"), body(3, "Hangup"))

    assert [item.seq for item in listen(daemon, publish, 1, "hangUP")[:1]] == [3]


def test_events_before_the_subscription_are_not_delivered(daemon: StandIn, listen: Listen) -> None:
    daemon.publish(body(1), body(2))
    assert [item.seq for item in listen(daemon, lambda: daemon.publish(body(3)), 1)[:1]] == [3]


def test_events_that_arrive_while_the_program_is_busy_are_not_lost(daemon: StandIn, listen: Listen) -> None:
    items = listen(daemon, lambda: daemon.publish(*map(body, range(1, 2501))), 2500)
    assert [item.seq for item in items[:2500]] == list(range(1, 2501)) and items[2500] == 0


PASSING = ["not_connected", "busy", "connection_lost", "timeout"]


@pytest.mark.parametrize("kind", PASSING)
def test_a_temporary_error_is_retried(
    daemon: StandIn, listen: Listen, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As from a broker that has just been replaced."""
    monkeypatch.setattr(event, "PAUSE_S", 0.05)
    tries, pull = iter(range(3)), daemon.pull

    def not_yet(params: dict[str, Any]) -> Any:
        if params.get("timeout") and next(tries, None) is not None:
            raise AmidError(kind, "for now")
        return pull(params)

    daemon.methods["events"] = not_yet
    items = listen(daemon, lambda: daemon.publish(body(1), body(2)), 2, gaps=True)
    assert [item.seq for item in items[:2]] == [1, 2] and items[2] == 0
    assert caplog.text.count("no events, retrying: for now") == 1
    assert caplog.text.count("events resumed") == 1


def test_a_permanent_error_is_raised(daemon: StandIn, listen: Listen) -> None:
    def refused(params: dict[str, Any]) -> Any:
        if params["timeout"]:
            raise AmidError("denied", "no")
        return daemon.pull(params)

    daemon.methods["events"] = refused
    with pytest.raises(AmidError, match="no"):
        listen(daemon, lambda: None, 1)


def _repeatedly(daemon: StandIn, timeout: float, publish: Callable[[], None]) -> tuple[list[int], float, int]:
    """Poll two events with a short timeout: their numbers, the longest poll in seconds, and the
    number of empty polls."""
    with Client(daemon.run_dir) as client, client.events(timeout=timeout) as stream:
        publish()
        return _repeated(lambda: next(stream))


def _repeatedly_aio(daemon: StandIn, timeout: float, publish: Callable[[], None]) -> tuple[list[int], float, int]:
    async def listen() -> tuple[list[int], float, int]:
        async with AsyncClient(daemon.run_dir) as client, client.events(timeout=timeout) as stream:
            publish()
            loop = asyncio.get_running_loop()
            return await asyncio.to_thread(_repeated, lambda: asyncio.run_coroutine_threadsafe(anext(stream), loop).result())

    return asyncio.run(listen())


def _repeated(once: Callable[[], Any]) -> tuple[list[int], float, int]:
    seqs: list[int] = []
    longest, none, end = 0.0, 0, time.monotonic() + 20
    while len(seqs) < 2 and time.monotonic() < end:
        began = time.monotonic()
        try:
            seqs.append(once().seq)
        except CallTimeout:
            none += 1
        longest = max(longest, time.monotonic() - began)
    return seqs, longest, none


@pytest.mark.parametrize("repeatedly", [_repeatedly, _repeatedly_aio], ids=["blocking", "aio"])
@pytest.mark.parametrize("timeout", [0, 0.004])
def test_a_slow_daemon_works_with_a_short_timeout(
    daemon: StandIn, repeatedly: Callable[..., tuple[list[int], float, int]], timeout: float
) -> None:
    def slow(params: dict[str, Any]) -> Any:
        if params.get("timeout"):
            time.sleep(0.1)
        return daemon.pull(params)

    daemon.methods["events"] = slow
    seqs, longest, none = repeatedly(daemon, timeout, lambda: daemon.publish(body(1), body(2)))
    assert seqs == [1, 2] and none > 2
    assert longest < 1.5, "`next` takes no longer than its timeout"


def test_a_gap_is_delivered_in_place_on_request(daemon: StandIn, listen: Listen) -> None:
    items = listen(daemon, lambda: daemon.publish(body(4)), 2, gaps=True)
    assert items[0] == Gap("pbx1", 1, 0, 3) and isinstance(items[1], Event)
    assert items[2] == 3


def test_a_new_epoch_is_a_gap_of_unknown_size(daemon: StandIn, listen: Listen) -> None:
    items = listen(daemon, lambda: daemon.publish(body(1, epoch=7)), 2, gaps=True)
    assert items[0] == Gap("pbx1", 1, 0, None) and (items[1].epoch, items[1].seq, items[2]) == (7, 1, 0)


@pytest.mark.parametrize(("missed", "gaps"), [(0, []), (None, []), (2, [Gap("pbx1", 7, 0, 2)])])
def test_a_new_stream_reports_no_gap_for_the_current_epoch(missed: int | None, gaps: list[Gap]) -> None:
    """The stream had no cursor when an epoch ended, so the first epoch it sees is new and not
    interrupted."""
    first: Any = body(3, epoch=7)
    cursor = event.EventCursor("pbx1", ())
    items = list(cursor.take({"server": "pbx1", "epoch": 7, "seq": 3, "events": [first], "missed": missed, "more": False}))
    assert items == [*gaps, event.as_event(first)]
    assert cursor.after == {"epoch": 7, "seq": 3}


def test_without_gaps_a_gap_is_logged_and_counted(daemon: StandIn, listen: Listen, caplog: pytest.LogCaptureFixture) -> None:
    assert listen(daemon, lambda: daemon.publish(body(4)), 1)[1] == 3
    assert "3 events missing" in caplog.text


def test_an_unknown_server_is_an_error(daemon: StandIn, listen: Listen) -> None:
    with pytest.raises(AmidError, match="pbx1") as caught:
        listen(daemon, lambda: None, 0, server="pbx9")
    assert caught.value.kind == "unknown_server"
    assert "configured servers: pbx1" in caught.value.message


def test_a_timeout_leaves_the_stream_open(daemon: StandIn) -> None:
    with Client(daemon.run_dir) as client, client.events(timeout=0.05) as stream:
        with pytest.raises(TimeoutError):
            next(stream)
        stream._timeout = 5.0
        daemon.publish(body(1))
        assert isinstance(next(stream), Event)


def test_an_async_timeout_is_a_call_timeout(daemon: StandIn) -> None:
    async def listen() -> None:
        async with AsyncClient(daemon.run_dir) as client:
            await anext(client.events(timeout=0.05))

    with pytest.raises(CallTimeout):
        asyncio.run(listen())


def test_closing_the_client_ends_its_streams(daemon: StandIn) -> None:
    with Client(daemon.run_dir) as client:
        stream = client.events()
    assert list(stream) == []


def test_closing_the_client_ends_a_stream_that_waits_in_another_thread(daemon: StandIn) -> None:
    """A ZeroMQ socket must not be closed by another thread than the one that polls it."""
    with ThreadPoolExecutor() as pool, Client(daemon.run_dir) as client:
        waiting = pool.submit(list, client.events())
        daemon.publish(body(1))
        eventually(lambda: daemon.asked[-1]["params"].get("after", {}).get("seq") == 1, "it waits for the next event")
        client.close()
        assert [item.seq for item in waiting.result(BOUND_S) if isinstance(item, Event)] == [1]


def test_a_signal_handler_ends_a_stream(daemon: StandIn) -> None:
    with Client(daemon.run_dir) as client:
        stream = client.events()
        previous = signal.signal(signal.SIGALRM, lambda *_: client.close())
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            assert list(stream) == []
        finally:
            signal.signal(signal.SIGALRM, previous)


def test_closing_the_async_client_ends_its_streams(daemon: StandIn) -> None:
    async def listen() -> list[Any]:
        async with AsyncClient(daemon.run_dir) as client, client.events() as stream:
            pass
        return [item async for item in stream]

    assert asyncio.run(listen()) == []


def test_closing_the_async_client_ends_a_stream_that_is_waiting(daemon: StandIn) -> None:
    async def listen() -> list[Any]:
        client = AsyncClient(daemon.run_dir)
        stream = client.events()
        await stream.open()

        async def items() -> list[Any]:
            return [item async for item in stream]

        waiting = asyncio.create_task(items())
        await asyncio.sleep(0.05)  # it waits on the socket now; before, or after, it would end as well
        await client.close()
        return await waiting

    assert asyncio.run(listen()) == []
