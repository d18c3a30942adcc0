"""A request is accepted as documented, or refused with the name of the invalid member."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amid import wire
from amid.errors import AmidError
from amid.rpc.requests import MAX_ON_BEHALF_LENGTH, ActionParams, EventsParams, Params, check_request, request_id


def refused(value: Any) -> AmidError:
    with pytest.raises(AmidError) as caught:
        check_request(value)
    assert caught.value.sent is False
    return caught.value


def action(**params: Any) -> dict[str, Any]:
    return {"method": "action", "params": {"action": "Ping", **params}}


def events(**params: Any) -> dict[str, Any]:
    return {"method": "events", "params": params}


NO_REQUEST = {
    "a batch": ([{"method": "ping"}], "batches are not supported"),
    "an empty batch": ([], "batches"),
    "text": ("ping", "not text"),
    "a number": (7, "not a number"),
    "null": (None, "not null"),
    "true": (True, "not true or false"),
    "bytes": (b"ping", "not bytes"),
    "no method": ({"id": 1}, "`method` must be text"),
    "a method that is a number": ({"method": 7}, "`method`"),
    "a method that is bytes": ({"method": b"ping"}, "`method`"),
    "JSON-RPC 1.0": ({"jsonrpc": "1.0", "method": "ping"}, "`jsonrpc`"),
    "jsonrpc that is a number": ({"jsonrpc": 2.0, "method": "ping"}, "`jsonrpc`"),
    "jsonrpc that is null": ({"jsonrpc": None, "method": "ping"}, "`jsonrpc`"),
    "an id that is true": ({"id": True, "method": "ping"}, "or null, not true or false"),
    "an id of 65 bytes": ({"id": "é" * 32 + "x", "method": "ping"}, "`id` must be text or a number of at most 64 bytes"),
    "an id of 65 digits": ({"id": 10**64, "method": "ping"}, "`id` must be text or a number of at most 64 bytes"),
    "an id that is a map": ({"id": {}, "method": "ping"}, "not a map"),
    "an id that is a list": ({"id": [1], "method": "ping"}, "not a list"),
    "an id that is bytes": ({"id": b"1", "method": "ping"}, "not bytes"),
    "on behalf of an empty name": ({"method": "ping", "on_behalf_of": ""}, "`on_behalf_of` must be text of 1 to 64 characters"),
    "for a name of 65 characters": ({"method": "ping", "on_behalf_of": "é" * 65}, "`on_behalf_of`"),
    "for a number": ({"method": "ping", "on_behalf_of": 7}, "`on_behalf_of`"),
}


@pytest.mark.parametrize(("value", "said"), NO_REQUEST.values(), ids=NO_REQUEST)
def test_invalid_requests_are_refused(value: Any, said: str) -> None:
    failure = refused(value)
    assert failure.kind == "invalid_request"
    assert said in failure.message


@pytest.mark.parametrize("name", ["", "Ping", "ping ", "rpc.discover", "\udcff", "x" * 100_000])
def test_the_error_for_an_unknown_method_lists_the_methods(name: str) -> None:
    failure = refused({"method": name})
    assert failure.kind == "unknown_method"
    assert all(method in failure.message for method in wire.METHODS)
    assert len(failure.message) < 500


WRONG_PARAMS = {
    "params that are a list": ({"method": "action", "params": ["Ping"]}, "must be a map, not a list"),
    "params that are text": ({"method": "ping", "params": "x"}, "must be a map, not text"),
    "params that are an empty list": ({"method": "ping", "params": []}, "must be a map, not a list"),
    "params that are zero": ({"method": "ping", "params": 0}, "must be a map, not a number"),
    "no action": ({"method": "action", "params": {}}, "`params.action`"),
    "no params": ({"method": "action"}, "`params.action`"),
    "an action that is a number": (action(action=7), "`params.action`"),
    "an action that is null": (action(action=None), "`params.action`"),
    "a name of an event that is not UTF-8": (events(names=["\udc80x"]), "`params.names` must be a list"),
    "fields that are a list": (action(fields=[]), "`params.fields`"),
    "fields that are null": (action(fields=None), "`params.fields`"),
    "a server that is a number": (action(server=1), "`params.server`"),
    "a timeout of zero": (action(timeout=0), "`params.timeout`"),
    "a timeout below zero": (action(timeout=-1), "`params.timeout`"),
    "a timeout over an hour": (action(timeout=3600.1), "`params.timeout`"),
    "a timeout that is text": (action(timeout="5"), "`params.timeout`"),
    "a timeout that is true": (action(timeout=True), "`params.timeout`"),
    "a timeout that is null": (action(timeout=None), "`params.timeout`"),
    "a timeout that is NaN": (action(timeout=float("nan")), "`params.timeout`"),
    "a timeout that is infinite": (action(timeout=float("inf")), "`params.timeout`"),
    "a timeout that is huge": (action(timeout=10**300), "`params.timeout`"),
    "an until that is too long": (action(until="x" * 257), "`params.until`"),
    "an until that is a list": (action(until=["Hangup"]), "`params.until`"),
    "an unknown param": (action(timeuot=5), "`timeuot`"),
    "a param whose name is no text": ({"method": "action", "params": {"action": "Ping", 7: 1}}, "action"),
    "a param whose name is bytes": ({"method": "ping", "params": {b"x": 1}}, "ping"),
    "a param whose name is not UTF-8": ({"method": "ping", "params": {"\udcff": 1}}, "ping"),
    "params where there are none": ({"method": "servers", "params": {"server": "pbx1"}}, "`server`"),
    "events after half a cursor": (events(after={"seq": 1}), "`params.after`"),
    "events from before the start": (events(after={"epoch": 1, "seq": -1}), "`params.after`"),
    "events after half an event": (events(after={"epoch": 1, "seq": 0.5}), "`params.after`"),
    "events of an epoch that nothing can carry": (events(after={"epoch": 2**70, "seq": 0}), "`params.after`"),
    "events after a number": (events(after=7), "`params.after`"),
    "events of no names": (events(names=[]), "`params.names`"),
    "events of one name": (events(names="Hangup"), "`params.names`"),
    "events of names that are none": (events(names=["a\nb"]), "`params.names`"),
    "events of too many names": (events(names=["x"] * 1001), "`params.names`"),
    "no events": (events(limit=0), "`params.limit`"),
    "too many events": (events(limit=10**9), "`params.limit`"),
    "events in no time": (events(timeout=-1), "`params.timeout`"),
    "restart of a list": ({"method": "restart", "params": {"server": ["pbx1"]}}, "`params.server`"),
}


@pytest.mark.parametrize(("value", "said"), WRONG_PARAMS.values(), ids=WRONG_PARAMS)
def test_wrong_params_name_the_member(value: Any, said: str) -> None:
    failure = refused(value)
    assert failure.kind == "invalid_params"
    assert said in failure.message
    assert not [word for word in ("object", "float", "`int", "`str", "array", "regex", "$") if word in failure.message]


WORDS = {
    "a timeout below zero": (action(timeout=-1), "action: `params.timeout` must be a number of seconds, over 0 and at most 3,600"),
    "an action that is a number": (action(action=7), "action: `params.action` must be text"),
    "an until of two lines": (
        action(until="a\nb"), "action: `params.until` must be 1 to 256 characters of text, without line ends"
    ),
    "fields that are a list": (action(fields=[]), "action: `params.fields` must be a map"),
    "no action": ({"method": "action"}, "action: `params.action` is missing"),
    "a misspelt param": (action(timeuot=5), "action: there is no param `timeuot`; did you mean 'timeout'?"),
    "an unknown param": (
        action(x=5),
        "action: there is no param `x` (known: action, fields, until, raw, lines, action_id, deadline, server, timeout)",
    ),
    "a param where there are none": ({"method": "ping", "params": {"x": 5}}, "ping: there is no param `x`; it takes none"),
    "half an event": (
        events(after={"epoch": 1, "seq": 0.5}),
        "events: `params.after` must be a map of `epoch` and `seq`, both whole numbers, or null",
    ),
    "a timeout of events": (events(timeout=-1), "events: `params.timeout` must be a number of seconds from 0 to 3,600"),
    "names": (events(names=[]), "events: `params.names` must be a list of 1 to 100 names of events, in UTF-8"),
    "a number of no call": (
        {"method": "call", "params": {"number": "+"}},
        "call: `params.number` must be a number or an extension: 1 to 255 characters, not only plus signs"
    ),
    "an id that is a list": ({"method": "cancel", "params": {"id": []}}, "cancel: `params.id` must be text or a number"),
}  # fmt: skip


@pytest.mark.parametrize(("value", "said"), WORDS.values(), ids=WORDS)
def test_errors_about_params_use_our_wording(value: Any, said: str) -> None:
    assert refused(value).message == said


def test_optional_params_have_defaults() -> None:
    defaults = ActionParams(action="Ping", fields={}, server=None, timeout=5.0, until=None)
    assert check_request(action()) == ("action", defaults, None, None)
    defaults_of_events = EventsParams(server=None, after=None, names=None, limit=1000, timeout=25.0)
    assert check_request({"method": "events"}) == ("events", defaults_of_events, None, None)
    assert check_request(events(after=None, names=None)) == ("events", defaults_of_events, None, None)
    assert check_request({"method": "ping", "params": None}) == ("ping", Params(), None, None)


@pytest.mark.parametrize("timeout", [0.001, 1, 3600, 3600.0])
def test_a_timeout_is_any_number_up_to_an_hour(timeout: float) -> None:
    assert check_request(action(timeout=timeout))[1] == ActionParams(action="Ping", timeout=timeout)


def test_fields_of_two_requests_are_not_shared() -> None:
    (_, one, *_), (_, two, *_) = check_request(action()), check_request(action())
    assert isinstance(one, ActionParams) and isinstance(two, ActionParams)
    assert one.fields is not two.fields


IDS = {"text": "seven", "empty": "", "number": 7, "negative": -7, "huge": 2**70, "fraction": 0.5, "zero": 0, "no UTF-8": "\udcff"}


@pytest.mark.parametrize("given_id", IDS.values(), ids=IDS)
def test_an_id_is_returned(given_id: Any) -> None:
    assert request_id({"id": given_id}) == given_id
    assert check_request({"id": given_id, "method": "ping"}) == ("ping", Params(), given_id, None)


@pytest.mark.parametrize("name", ["web", "é" * 64, None])
def test_on_behalf_of_is_decoded(name: str | None) -> None:
    assert check_request({"method": "ping", "on_behalf_of": name}) == ("ping", Params(), None, name)


@pytest.mark.parametrize("value", [{"id": True}, {"id": []}, {"id": {}}, {"id": None}, {}, [], "x", 7, None])
def test_a_request_without_a_valid_id_gets_null(value: Any) -> None:
    assert request_id(value) is None


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.integers() | st.binary(), inner, max_size=3),
    max_leaves=8,
)
methods = st.sampled_from(wire.METHODS) | anything
members = st.sampled_from(["action", "fields", "server", "timeout", "until", "epoch", "after", "limit"]) | st.text()
requests = st.fixed_dictionaries(
    {"method": methods},
    optional={
        "id": anything,
        "jsonrpc": st.just("2.0") | anything,
        "params": st.dictionaries(members, anything),
        "on_behalf_of": anything,
    },
)


@given(anything | requests)
@settings(max_examples=200, deadline=None)
def test_any_value_is_accepted_or_refused_unsent(value: Any) -> None:
    try:
        method, params, _, token = check_request(value)
    except AmidError as failure:
        assert failure.kind in ("invalid_request", "unknown_method", "invalid_params")
        assert failure.sent is False
        wire.encode_reply(wire.error(request_id(value), failure), as_json=True)
    else:
        assert method in wire.METHODS
        assert isinstance(params, Params)
        assert token is None or 0 < len(token) <= MAX_ON_BEHALF_LENGTH
