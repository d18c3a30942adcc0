"""Stream parameters, ids and cursors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import QueryParams

from amid.client import Event, Gap
from amid.config.tables import Token
from amid.errors import AmidError
from amid.gateway.access import Principal
from amid.gateway.backlog import Cursor, Item
from amid.gateway.streams import StreamFilter, format_cursors, parse_cursors

ANYBODY = Principal("crm", Token(token="0123456789abcdefghij"), "[crm] of tokens.toml")


def event(name: str = "Hangup", **fields: str) -> Item:
    return Item(Event("pbx1", 5, 7, 1, 0.0, name, dict(fields)))


@pytest.mark.parametrize(
    ("query", "taken"),
    [
        ("", True),
        ("event=Hangup", True),
        ("event=hangUP", True),
        ("event=Newchannel&event=Hangup", True),
        ("event=Newchannel", False),
        ("where=Channel~PJSIP", True),
        ("where=channel=PJSIP/1", True),
        ("where=Channel~PJSIP&where=Cause=17", False),
        ("event=Hangup&where=Channel~SIP/2", False),
    ],
)
def test_streams_are_filtered(query: str, taken: bool) -> None:
    item = event(Channel="PJSIP/1", Cause="16")
    assert StreamFilter.of(QueryParams(query)).matches(item, ANYBODY) is taken


def test_gaps_are_always_sent_and_events_need_rights() -> None:
    nothing = Principal("wall", Token(token="0123456789abcdefghij", events_deny=["*"]), "[wall] of tokens.toml")
    everything = StreamFilter.of(QueryParams(""))
    assert everything.matches(Item(Gap("pbx1", 5, 1, 2)), nothing)
    assert not everything.matches(event(), nothing)


@pytest.mark.parametrize("query", ["evnt=Hangup", "where=Channel", "where=~x"])
def test_an_invalid_parameter_is_refused(query: str) -> None:
    with pytest.raises(AmidError) as refused:
        StreamFilter.of(QueryParams(query))
    assert refused.value.kind == "invalid_params"


numbers = st.integers(0, 10**18 - 1)
cursors = st.dictionaries(st.sampled_from(["pbx1", "pbx-2", "p_3"]), st.builds(Cursor, numbers, numbers), min_size=1)


@given(cursors)
def test_an_id_is_parsed_to_the_same_cursors(where: dict[str, Cursor]) -> None:
    assert parse_cursors(format_cursors(where), where) == where


@pytest.mark.parametrize("text", ["5", "5:", ":5", "a:b", "5:-1", "pbx1:5", "x:pbx1:5:6", "5:6:7:8", "9" * 90 + ":1", "²:1"])
def test_an_invalid_cursor_is_ignored(text: str) -> None:
    assert parse_cursors(text, ["pbx1"]) == {}
    assert parse_cursors(f"pbx1:5:6,{text}", ["pbx1", "pbx2"]) == {"pbx1": Cursor(5, 6)}


def test_a_cursor_without_a_server_applies_to_the_only_one() -> None:
    assert parse_cursors("5:6", ["pbx1"]) == {"pbx1": Cursor(5, 6)}
    assert parse_cursors("5:6", ["pbx1", "pbx2"]) == {}


def test_a_cursor_of_a_removed_server_is_ignored() -> None:
    assert parse_cursors("pbx1:5:6,gone:1:2", ["pbx1", "pbx2"]) == {"pbx1": Cursor(5, 6)}
