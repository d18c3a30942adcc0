"""Event streams of both clients against stand-in sockets."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from amid import AmidError, AsyncClient, CallTimeout, Client, Event, Gap
from amid.client import aio, blocking, rules
from tests.client.standin import SILENCE, StandIn, body

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


def test_whatever_is_published_after_it_was_made_comes(daemon: StandIn, listen: Listen) -> None:
    def publish() -> None:
        daemon.publish(body(1, "Newchannel", 1, Channel="a"), body(2, "Hangup", 1, Channel="a"))

    items = listen(daemon, publish, 2)
    assert [(item.event, item["Channel"]) for item in items[:2]] == [("Newchannel", "a"), ("Hangup", "a")]
    assert items[2] == 0


def test_names_are_exact(daemon: StandIn, listen: Listen) -> None:
    def publish() -> None:
        daemon.publish(body(1, "HangupRequest", 1), body(2, "Newstate", 1), body(3, "Hangup", 1))

    assert [item.seq for item in listen(daemon, publish, 1, "Hangup")[:1]] == [3]


def test_what_was_lost_is_fetched_once_more(daemon: StandIn, listen: Listen) -> None:
    daemon.held = [body(seq) for seq in range(1, 4)]
    items = listen(daemon, lambda: daemon.publish(body(4)), 4, gaps=True)
    assert [item.seq for item in items[:4]] == [1, 2, 3, 4] and items[4] == 0


def test_a_fetch_goes_on_when_its_waiter_was_cancelled(daemon: StandIn) -> None:
    daemon.held, answer = [body(1)], threading.Event()
    daemon.methods["replay"] = lambda params: answer.wait(5) and daemon.replay(params)

    async def listen() -> Any:
        async with AsyncClient(daemon.run_dir) as client, client.events() as stream:
            daemon.publish(body(2))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await anext(stream)
            answer.set()
            return [(await anext(stream)).seq, (await anext(stream)).seq, stream.replayed]

    assert asyncio.run(listen()) == [1, 2, 1]
    assert [asked["method"] for asked in daemon.asked].count("replay") == 1


def test_a_daemon_that_is_not_ready_yet_is_asked_again(daemon: StandIn, listen: Listen) -> None:
    """As a broker is that has just been replaced, and has not heard its readers."""
    daemon.held, tries, replay = [body(1)], iter(range(3)), daemon.replay

    def not_yet(params: dict[str, Any]) -> Any:
        if next(tries, None) is not None:
            raise AmidError("not_connected", "its reader has not reported")
        return replay(params)

    daemon.methods["replay"] = not_yet
    items = listen(daemon, lambda: daemon.publish(body(2)), 2, gaps=True)
    assert [item.seq for item in items[:2]] == [1, 2] and items[2] == 0


def _patient(daemon: StandIn, timeout: float, publish: Callable[[], None]) -> tuple[list[int], float, int]:
    """The numbers of two events that are asked for again and again, the longest that one took, and how often none had come."""
    with Client(daemon.run_dir) as client, client.events(timeout=timeout) as stream:
        publish()
        return _repeated(lambda: next(stream))


def _patient_aio(daemon: StandIn, timeout: float, publish: Callable[[], None]) -> tuple[list[int], float, int]:
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


Patient = Callable[[StandIn, float, Callable[[], None]], tuple[list[int], float, int]]
both = pytest.mark.parametrize("patient", [_patient, _patient_aio], ids=["blocking", "aio"])


@both
@pytest.mark.parametrize("timeout", [0, 0.004])
def test_what_was_lost_is_fetched_however_short_the_timeout(daemon: StandIn, patient: Patient, timeout: float) -> None:
    """A replay that took longer than the subscriber's own timeout was begun again and again, for ever, and nothing said it."""

    def slow(params: dict[str, Any]) -> dict[str, Any]:
        time.sleep(0.1)
        return daemon.replay(params)

    daemon.held, daemon.methods["replay"] = [body(1)], slow
    seqs, longest, none = patient(daemon, timeout, lambda: daemon.publish(body(2)))
    assert seqs == [1, 2] and none > 2
    assert longest < 1.5, "no replay is waited for"
    assert [asked["method"] for asked in daemon.asked].count("replay") == 1


@both
def test_a_daemon_that_answers_no_replay_is_given_up_however_short_the_timeout(
    daemon: StandIn, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "MARGIN", 0.2)
    for module in (blocking, aio):
        monkeypatch.setattr(module, "TIMEOUT", 0.2)
    monkeypatch.setattr(AsyncClient._replay, "__defaults__", (0.2,))
    daemon.methods["replay"] = lambda params: SILENCE
    seqs, _, _ = patient(daemon, 0.05, lambda: daemon.publish(body(2), body(3)))
    assert seqs == [2, 3]


@both
def test_without_a_timeout_it_looks_at_what_has_come(daemon: StandIn, patient: Patient) -> None:
    def publish() -> None:
        daemon.publish(body(1))
        daemon.tick()
        daemon.publish(body(2))

    assert patient(daemon, 0, publish)[0] == [1, 2]


def test_a_name_is_found_without_its_case(daemon: StandIn, listen: Listen) -> None:
    daemon.held = [body(1)]

    def publish() -> None:
        daemon.publish(body(1))
        daemon.tick()

    assert [item.seq for item in listen(daemon, publish, 1, "hangUP")[:1]] == [1]


def test_a_gap_is_shown_in_place_when_asked_for(daemon: StandIn, listen: Listen) -> None:
    items = listen(daemon, lambda: daemon.publish(body(4)), 2, gaps=True)
    assert [type(item) for item in items[:2]] == [Gap, Event]
    assert (items[0].missed, items[0].after, items[2]) == (3, 0, 3)


def test_a_gap_of_a_name_is_seen_at_the_tick(daemon: StandIn, listen: Listen) -> None:
    def lose() -> None:
        daemon.seq, daemon.counts = 7, {"Hangup": 2}
        daemon.tick()

    assert listen(daemon, lose, 1, "Hangup", gaps=True) == [Gap("pbx1", 1, 0, 7, 2, "lost", "Hangup"), 2]


def test_without_gaps_it_is_logged_and_counted(daemon: StandIn, listen: Listen, caplog: pytest.LogCaptureFixture) -> None:
    assert listen(daemon, lambda: daemon.publish(body(4)), 1)[1] == 3
    assert "3 events missing" in caplog.text


def test_a_server_that_is_down_is_not_waited_for(daemon: StandIn, listen: Listen) -> None:
    daemon.state = "connecting"
    daemon.tick = lambda epoch=1: None  # type: ignore[method-assign]
    assert listen(daemon, lambda: None, 0) == [0]


def test_an_unknown_server_is_an_error(daemon: StandIn, listen: Listen) -> None:
    with pytest.raises(AmidError, match="pbx1") as caught:
        listen(daemon, lambda: None, 0, server="pbx9")
    assert caught.value.kind == "unknown_server"


def test_a_timeout_leaves_the_stream_open(daemon: StandIn) -> None:
    with Client(daemon.run_dir) as client, client.events(timeout=0.05) as stream:
        with pytest.raises(TimeoutError):
            next(stream)
        stream._timeout = 5.0
        daemon.publish(body(1))
        assert isinstance(next(stream), Event)


def test_an_async_timeout_is_a_timeout_too(daemon: StandIn) -> None:
    async def listen() -> None:
        async with AsyncClient(daemon.run_dir) as client:
            await anext(client.events(timeout=0.05))

    with pytest.raises(CallTimeout):
        asyncio.run(listen())


def test_closing_the_client_ends_its_streams(daemon: StandIn) -> None:
    with Client(daemon.run_dir) as client:
        stream = client.events()
    assert list(stream) == []


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
