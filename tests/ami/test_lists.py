"""Every list action of Asterisk 1.8 to 23, simulated: response, items, closing event. `data/lists.csv` has them, a row each, read
from Asterisk's sources; `start` is the EventList mark of the response, `none` before Asterisk 13.2."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from amid.ami.exchange import Answer, Exchange
from amid.ami.packet import Packet
from tests.ami.lane_call import lane_call

with (Path(__file__).parent / "data" / "lists.csv").open() as file:
    LISTS = list(csv.DictReader(file))

Row = dict[str, str]


def names(row: Row) -> str:
    return f"{row['action']}-{row['start']}"


def packets(row: Row, rounds: int) -> list[Packet]:
    """The whole answer: each kind of item `rounds` times."""
    marked = row["start"] != "none"
    start = "Response: Success\r\nActionID: 7" + (f"\r\nEventList: {row['start']}" if marked else "")
    owner = "\r\nActionID: 7" if row["items_have_action_id"] == "yes" else ""
    items = [f"Event: {item}{owner}\r\nX: {n}" for n in range(rounds) for item in row["items"].split("; ")]
    complete = f"Event: {row['complete']}\r\nActionID: 7" + ("\r\nEventList: Complete" if marked else "")
    return [Packet(raw.encode()) for raw in [start, *items, complete]]


def answered(action: str, taken: list[Packet]) -> Answer:
    exchange = Exchange(lane_call(1, action, "7", 105.0, 1 << 20), 100.0)
    answers = []
    for packet in taken:
        assert packet.action_id == "7" or exchange.matches(packet), packet.raw
        answers.append(exchange.feed(packet))
    assert answers[:-1] == [None] * (len(taken) - 1), "the list was taken for whole before its end"
    assert isinstance(answers[-1], Answer)
    return answers[-1]


@pytest.mark.parametrize("row", LISTS, ids=names)
@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_every_list_is_complete(row: Row, rounds: int) -> None:
    taken = packets(row, rounds)
    for action in (row["action"], row["action"].lower()):
        answer = answered(action, taken)
        assert answer.response is taken[0] and answer.complete is taken[-1]
        assert answer.events == taken[1:-1] and not answer.failed


@pytest.mark.parametrize("row", LISTS, ids=names)
def test_a_refused_list_is_an_error(row: Row) -> None:
    refusal = Packet(b"Response: Error\r\nActionID: 7\r\nMessage: Permission denied")
    assert answered(row["action"], [refusal]).failed


def test_the_table_of_lists_is_complete() -> None:
    """As many as Asterisk's sources have; a table cut short must not pass for a test of all."""
    assert len(LISTS) == 66 and sum(row["start"] == "none" for row in LISTS) == 13
