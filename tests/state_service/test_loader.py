"""The loader of a server's state, with a client that is a stand-in."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from amid.errors import AmidError
from amid.state.server_state import BARRIER, ServerState
from amid.state_service.loader import Loader


class Fields(dict[Any, Any]):
    """The headers of an event; a weak reference to it shows whether it is kept."""


class StandIn:
    """A client that answers actions at once, with empty lists. refused: actions that Asterisk
    refuses. denied: actions that the rules deny."""

    def __init__(self, state: ServerState, refused: tuple[str, ...] = (), denied: tuple[str, ...] = ()) -> None:
        self.state = state
        self.loader = Loader(self, state, 60.0, self.check, lambda: None)  # type: ignore[arg-type]
        self.actions: list[str] = []
        self.fails_with_epoch = False
        self.failures: dict[str, int] = {}
        """Action -> how often it fails because Asterisk is busy."""
        self.refusal = "action_failed"
        self._refused = refused
        self._denied = denied

    def check(self, action: str, headers: Any) -> None:
        if action in self._denied:
            raise AmidError("denied", f"the configuration does not allow {action}")

    async def action(self, action: str, fields: Any = None, **headers: Any) -> dict[str, Any]:
        self.actions.append(action)
        if self.failures.get(action, 0) > 0:
            self.failures[action] -= 1
            raise AmidError("timeout", f"no answer to {action}")
        if action in self._refused:
            raise AmidError(self.refusal, "Permission denied")
        if action == "Setvar" and self.fails_with_epoch:
            self.begin_epoch(self.state.epoch + 1)
            raise AmidError("connection_lost", "the session ended")
        if action == "Setvar":
            event = "VarSet", {"Variable": BARRIER, "Value": fields["Value"]}
            self.loader.pass_barriers(self.state.feed_events(self.state.seq + 1, [event], 1.0))
        return {"packets": []}

    def begin_epoch(self, epoch: int) -> None:
        self.state.begin_epoch(epoch)
        self.loader.begin_epoch()

    async def load(self) -> None:
        """Run the loader for some time."""
        running = asyncio.create_task(self.loader.run())
        await passes()
        running.cancel()


async def passes() -> None:
    """A hundred passes of the loop. A load needs a few of them."""
    for _ in range(100):
        await asyncio.sleep(0)


def test_a_load_between_two_barriers() -> None:
    async def load() -> None:
        client = StandIn(ServerState("pbx1", 10_000))
        client.begin_epoch(7)
        await client.load()
        assert client.state.ready and client.state.exact and client.loader.lag_s is not None
        assert client.actions[0] == client.actions[-1] == "Setvar" and "CoreShowChannels" in client.actions

    asyncio.run(load())


def test_a_user_that_may_not_set_variables() -> None:
    async def load() -> None:
        client = StandIn(ServerState("pbx1", 10_000), refused=("Setvar", "ParkedCalls"))
        client.begin_epoch(7)
        await client.load()
        assert client.state.ready and not client.state.exact
        assert "write = call" in client.state.detail() and "parked: " in client.state.detail()
        assert "parked: " not in client.state.detail({"channel", "call"})

    asyncio.run(load())


def test_a_list_that_is_too_large() -> None:
    """One over `max_reply_bytes`. Repeated loads would never make the state ready."""

    async def load() -> None:
        client = StandIn(ServerState("pbx1", 10_000), refused=("PJSIPShowAors",))
        client.refusal = "too_large"
        client.begin_epoch(7)
        await client.load()
        assert client.state.ready and client.state.exact and "contacts: " in client.state.detail()

    asyncio.run(load())


def test_contacts_of_the_configuration_are_requested_when_it_may_have_changed() -> None:
    """Asterisk looks up the contacts of each AOR for it, so it takes seconds with many."""

    async def load() -> None:
        client = StandIn(ServerState("pbx1", 10_000))
        client.begin_epoch(7)
        await client.load()
        assert client.actions.count("PJSIPShowAors") == 1
        await client.load()
        assert client.actions.count("PJSIPShowAors") == 1 and client.actions.count("PJSIPShowContacts") == 2
        client.state.feed_events(client.state.seq + 1, [("Reload", {"Module": "res_pjsip.so"})], 1.0)
        await client.load()
        assert client.actions.count("PJSIPShowAors") == 2

    asyncio.run(load())


def test_the_reason_why_a_state_is_not_exact_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    async def load() -> None:
        client = StandIn(ServerState("pbx1", 10_000), refused=("Setvar",))
        for epoch in (7, 8):
            client.begin_epoch(epoch)
            await client.load()

    asyncio.run(load())
    (logged,) = caplog.messages
    assert "write = call in manager.conf" in logged and "etc/doc/state.md" in logged


def test_an_action_that_the_rules_deny_is_not_requested() -> None:
    """The broker would record a denial."""

    async def load() -> None:
        client = StandIn(ServerState("pbx1", 10_000), denied=("Setvar", "PJSIPShowRegistrationsOutbound"))
        client.begin_epoch(7)
        await client.load()
        assert client.state.ready and not client.state.exact
        assert "registrations: known from events only: the configuration does not allow" in client.state.detail()
        assert "PJSIPShowContacts" in client.actions
        assert not {"Setvar", "PJSIPShowRegistrationsOutbound"} & set(client.actions)

    asyncio.run(load())


def test_what_is_out_of_date_is_loaded_again_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups that a reload may have changed, and statistics of queues."""
    monkeypatch.setattr("amid.state_service.loader.RETRY_S", 0.0)
    monkeypatch.setattr("amid.state_service.loader.STATISTICS_DELAY_S", 0.0)

    async def load() -> None:
        client = StandIn(ServerState("pbx1", 10_000))
        client.begin_epoch(7)
        running = asyncio.create_task(client.loader.run())
        await passes()
        for event in (("Reload", {"Module": "app_queue"}), ("AgentComplete", {"Queue": "support"})):
            client.actions.clear()
            client.failures["QueueStatus"] = 2
            client.state.feed_events(client.state.seq + 1, [event], 1.0)
            client.loader.wake()
            await passes()
            assert client.actions == ["Setvar", "QueueStatus"] * 3 + ["Setvar"]
        running.cancel()

    asyncio.run(load())


def test_no_events_are_kept_after_a_failure() -> None:
    """The next reconciliation is a minute later: the events until then would fill the memory."""

    async def load() -> None:
        client = StandIn(ServerState("pbx1", 10_000))
        client.begin_epoch(7)
        await client.load()
        client.failures["CoreShowChannels"] = 1
        await client.load()
        assert client.loader.failure
        fields = Fields(UserEvent="X")
        is_kept = weakref.ref(fields)
        client.state.feed_events(client.state.seq + 1, [("UserEvent", fields)], 1.0)
        del fields
        gc.collect()
        assert not is_kept()

    asyncio.run(load())


def test_an_epoch_that_begins_while_a_barrier_is_set() -> None:
    """An error that nothing awaits would end the process."""
    errors: list[dict[str, Any]] = []

    async def load() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        client = StandIn(ServerState("pbx1", 10_000))
        client.begin_epoch(7)
        client.fails_with_epoch = True
        await client.load()
        assert client.loader.failure == "the session ended"
        gc.collect()

    asyncio.run(load())
    assert not errors
