"""Messages between broker and reader: whole, in order, in whatever pieces they come, and what happens at the end of one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amid.process.pipe import IN, LARGE, OUT, Message, Pipe, connect, listen
from tests.daemon import eventually


@pytest.fixture
def ends() -> Iterator[tuple[Pipe, Pipe]]:
    one, other = map(Pipe, socket.socketpair())
    yield one, other
    one.close()
    other.close()


def carried(one: Pipe, other: Pipe, count: int) -> list[Message]:
    """The next messages, with both ends at work."""
    come: list[Message] = []

    def all_there() -> bool:
        one.flush()
        come.extend(other.receive())
        return len(come) >= count

    eventually(all_there, f"{count} messages have come")
    return come


values = st.none() | st.integers(-(2**63), 2**63) | st.text(max_size=20) | st.binary(max_size=20)
messages = st.lists(st.tuples(st.lists(values, max_size=4), st.sampled_from([0, 1, 1000, LARGE - 1, LARGE, 3 * LARGE])), max_size=8)


@given(messages)
def test_messages_come_whole_and_in_order(sent: list[tuple[list[Any], int]]) -> None:
    one, other = map(Pipe, socket.socketpair())
    for number, (value, size) in enumerate(sent):
        one.say(value, bytes([number]) * size)
    assert carried(one, other, len(sent)) == [(value, bytes([number]) * size) for number, (value, size) in enumerate(sent)]
    one.close()
    other.close()


def test_a_message_that_comes_byte_by_byte() -> None:
    raw, (end, theirs) = b"", socket.socketpair()
    said, ours = socket.socketpair()
    Pipe(ours).say(["state", 1], b"payload")
    raw = said.recv(1000)
    pipe, come = Pipe(theirs), []
    for byte in raw:
        end.send(bytes([byte]))
        come += pipe.receive()
    assert come == [(["state", 1], b"payload")]
    for one in (end, said, ours):
        one.close()
    pipe.close()


def test_what_the_other_end_does_not_take_waits(ends: tuple[Pipe, Pipe]) -> None:
    one, other = ends
    one.say("large", bytes(4_000_000))
    one.say("behind it")
    assert one.poll_item()[1] == IN | OUT
    assert [value for value, _ in carried(one, other, 2)] == ["large", "behind it"]
    assert one.poll_item()[1] == IN


def test_what_was_said_before_the_end_is_heard_before_it(ends: tuple[Pipe, Pipe]) -> None:
    one, other = ends
    one.say("last words")
    one.close()
    assert other.receive() == [("last words", b"")]
    with pytest.raises(EOFError):
        other.receive()


def test_what_cannot_be_sent_any_more_is_known(ends: tuple[Pipe, Pipe]) -> None:
    one, other = ends
    one.say("heard")
    other.close()
    one.say("not heard")
    assert one.unheard == ["not heard"]
    with pytest.raises(OSError):
        one.flush()


def test_a_socket_that_is_left_over_is_replaced_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "readers")
    assert connect(path) is None
    listen(path).close()
    assert connect(path) is None, "nobody listens behind the file"
    with listen(path) as door:
        assert Path(path).stat().st_mode & 0o777 == 0o600
        pipe = connect(path)
        assert pipe is not None
        pipe.say("hello")
        accepted = Pipe(door.accept()[0])
        assert accepted.receive() == [("hello", b"")]
        pipe.close()
        accepted.close()
