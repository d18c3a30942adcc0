"""A client's copy of the live state: loaded, changed, and loaded again after a loss."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from amid import AmidError, AsyncClient, CallTimeout, Client
from amid.client.view import View
from tests.client.standin import StandIn


def state(seq: int, *things: dict[str, Any], rev: int = 1) -> dict[str, Any]:
    numbers = {"server": "pbx1", "epoch": 7, "seq": seq, "rev": rev}
    return {**numbers, "exact": True, "detail": "", "settled_at": 1.0, "devices": list(things)}


def page(seq: int, *changes: dict[str, Any], missed: int | None = 0, rev: int = 2) -> dict[str, Any]:
    return {"server": "pbx1", "epoch": 7, "seq": seq, "rev": rev, "events": list(changes), "missed": missed, "more": False}


def change(thing: str, **what: Any) -> dict[str, Any]:
    return {"server": "pbx1", "epoch": 7, "seq": 5, "rev": 2, "kind": "device", "id": thing, **what}


def test_changes_are_merged() -> None:
    view = View("pbx1", ["device"])
    assert view.request(5.0).params == {"server": "pbx1", "kinds": ["devices"], "timeout": 10.0}
    (reset,) = view.take(state(4, {"id": "a", "device": "a", "state": "IDLE"}))
    assert reset["kind"] == "reset" and (view.epoch, view.seq) == (7, 4)
    asked = view.request(5.0)
    assert (asked.method, asked.params["after"], asked.params["kinds"]) == ("events", {"epoch": 7, "seq": 4, "rev": 1}, ["devices"])
    changes = [change("a", set={"state": "BUSY"}), change("b", set={"device": "b"}), change("c", gone=True)]
    assert list(view.take(page(5, *changes))) == changes
    assert view.things["devices"] == {"a": {"id": "a", "device": "a", "state": "BUSY"}, "b": {"id": "b", "device": "b"}}
    list(view.take(page(6, change("a", gone=True))))
    assert set(view.things["devices"]) == {"b"}


def test_queues_have_no_lists_that_changes_do_not_update() -> None:
    view = View("pbx1", ["queues", "members"])
    member = {"id": "support/PJSIP/bob", "queue": "support", "status": "ringing"}
    answer = {**state(4), "queues": [{"id": "support", "waiting": 1, "members": [member], "callers": []}], "members": [member]}
    list(view.take(answer))
    assert view.things == {"queues": {"support": {"id": "support", "waiting": 1}}, "members": {member["id"]: member}}


@pytest.mark.parametrize("missed", [3, None])
def test_after_a_loss_the_whole_state_is_requested_again(missed: int | None) -> None:
    view = View("pbx1", ["device"])
    list(view.take(state(4, {"id": "a"})))
    assert list(view.take(page(9, missed=missed))) == []
    assert view.request(5.0).method == "state"
    assert [one["kind"] for one in view.take(state(9, {"id": "b"}))] == ["reset"] and set(view.things["devices"]) == {"b"}


def test_temporary_errors_are_retried() -> None:
    view = View(None, None)
    assert view.refused(AmidError("not_connected", "loading")) > 0
    with pytest.raises(AmidError):
        view.refused(AmidError("denied", "not allowed"))


@pytest.fixture
def daemon() -> Iterator[StandIn]:
    """A daemon whose first answer is an error, and whose second page reports a loss."""
    answers = iter([AmidError("not_connected", "the state is being loaded"), state(4, {"id": "a"}), state(9, {"id": "b"})])
    pages = iter([page(5, change("a", set={"state": "BUSY"})), page(8, missed=2)])

    def give(params: dict[str, Any]) -> Any:
        answer = next(answers)
        if isinstance(answer, AmidError):
            raise answer
        return answer

    with StandIn(state=give, events=lambda params: next(pages, page(9))) as daemon:
        yield daemon


def test_the_iterator(daemon: StandIn) -> None:
    with Client(daemon.run_dir) as client:
        changes = client.changes("pbx1", ["devices"])
        assert [next(changes)["kind"] for _ in range(3)] == ["reset", "device", "reset"]
        assert changes.view.things["devices"] == {"b": {"id": "b"}}


def test_the_iterator_for_asyncio(daemon: StandIn) -> None:
    async def follow() -> list[str]:
        async with AsyncClient(daemon.run_dir) as client:
            changes = client.changes("pbx1", ["devices"])
            return [(await anext(changes))["kind"] for _ in range(3)]

    assert asyncio.run(follow()) == ["reset", "device", "reset"]


def test_a_wait_with_a_timeout() -> None:
    with StandIn(state=lambda params: state(4), events=lambda params: page(4)) as daemon, Client(daemon.run_dir) as client:
        changes = client.changes("pbx1", ["devices"], timeout=0.2)
        assert next(changes)["kind"] == "reset"
        with pytest.raises(CallTimeout):
            next(changes)


def test_a_wait_with_a_timeout_for_asyncio() -> None:
    async def wait(run_dir: str) -> None:
        async with AsyncClient(run_dir) as client:
            changes = client.changes("pbx1", ["devices"], timeout=0.2)
            assert (await anext(changes))["kind"] == "reset"
            with pytest.raises(CallTimeout):
                await anext(changes)

    with StandIn(state=lambda params: state(4), events=lambda params: page(4)) as daemon:
        asyncio.run(asyncio.wait_for(wait(daemon.run_dir), 10.0))
