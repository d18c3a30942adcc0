"""Event streams of both clients against stand-in sockets."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest

from amid import AmidError, AsyncClient, CallTimeout, Client, Event, Gap
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


def test_a_fetch_that_was_cancelled_is_made_again(daemon: StandIn) -> None:
    daemon.held = [body(1)]
    daemon.methods["replay"], replay = lambda params: SILENCE, daemon.methods["replay"]

    async def listen() -> Any:
        async with AsyncClient(daemon.run_dir) as client, client.events() as stream:
            daemon.publish(body(2))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await anext(stream)
            daemon.methods["replay"] = replay
            return [(await anext(stream)).seq, (await anext(stream)).seq, stream.replayed]

    assert asyncio.run(listen()) == [1, 2, 1]


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


def test_a_timeout_holds_while_what_was_lost_is_fetched(daemon: StandIn) -> None:
    daemon.held = [body(1)]
    daemon.methods["replay"] = lambda params: SILENCE
    with Client(daemon.run_dir) as client, client.events(timeout=0.2) as stream:
        daemon.publish(body(2))
        began = time.monotonic()
        with pytest.raises(CallTimeout):
            next(stream)
        assert time.monotonic() - began < 3, "its own 5 s were not waited for"
        daemon.methods["replay"], stream._timeout = daemon.replay, 5.0
        assert [next(stream).seq, next(stream).seq, stream.missed] == [1, 2, 0]


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
