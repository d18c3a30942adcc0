"""Messages between broker and reader: complete and in order however they arrive, and the end of a
pipe."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amid.process.pipe import MAX_BACKLOG_BYTES, MAX_VALUE_BYTES, MESSAGES_PER_WRITE, PIECE_BYTES, Message, Pipe
from amid.process.unix_socket import PRIVATE, bind_unix
from tests.daemon import BOUND_S
from tests.processes.on_loop import FACTORIES, Loop


@pytest.fixture(params=list(FACTORIES.values()), ids=list(FACTORIES))
def loop(request: pytest.FixtureRequest) -> Iterator[Loop]:
    with Loop(request.param) as loop:
        yield loop


class End:
    """One end of a pipe, what it heard, and the reasons for which it was lost: one at most."""

    def __init__(self) -> None:
        self.heard: list[Any] = []
        self.lost: list[Exception | None] = []
        self.room = 0
        self.pipe: Pipe[Any] = Pipe(msgspec.msgpack.decode, self.take, self.lose, self.note_room)

    def note_room(self) -> None:
        assert not self.pipe.is_backlogged
        self.room += 1

    def take(self, pipe: Pipe[Any], received: list[Message[Any]]) -> None:
        assert pipe is self.pipe and not self.lost, "nothing comes behind the end"
        self.heard += received

    def lose(self, pipe: Pipe[Any], error: Exception | None) -> None:
        assert pipe is self.pipe
        self.lost.append(error)


def connected(loop: Loop, sock: socket.socket) -> End:
    async def connect() -> End:
        end = End()
        await asyncio.get_running_loop().create_unix_connection(lambda: end.pipe, sock=sock)
        return end

    return loop.run(connect())


@pytest.fixture
def ends(loop: Loop) -> Iterator[tuple[End, End]]:
    ours, theirs = socket.socketpair()
    one, other = connected(loop, ours), connected(loop, theirs)
    yield one, other
    for end in (one, other):
        end.pipe.close()
    loop.turn()


@pytest.fixture
def raw(loop: Loop) -> Iterator[tuple[End, socket.socket]]:
    """A pipe, and the socket at its other end."""
    ours, theirs = socket.socketpair()
    end = connected(loop, ours)
    theirs.setblocking(False)
    with theirs:
        yield end, theirs
        end.pipe.close()
        loop.turn()


def encoded(value: Any, payload: bytes = b"") -> bytes:
    """A message as it is sent; a large one in pieces, of which the last one has the value."""
    packed = msgspec.msgpack.encode(value)
    pieces, mark = b"", 0
    while len(payload) > PIECE_BYTES:
        pieces += bytes(4) + PIECE_BYTES.to_bytes(4, "big") + payload[:PIECE_BYTES]
        payload, mark = payload[PIECE_BYTES:], 2**31
    return pieces + (mark + len(packed)).to_bytes(4, "big") + len(payload).to_bytes(4, "big") + packed + payload


# ── messages ──

values = st.none() | st.integers(-(2**63), 2**63) | st.text(max_size=20) | st.binary(max_size=20)
messages = st.lists(
    st.tuples(st.lists(values, max_size=4), st.sampled_from([0, 1, 1000, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])),
    max_size=8,
)


@given(messages)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_messages_are_complete_and_in_order(loop: Loop, sent: list[tuple[list[Any], int]]) -> None:
    one, other = (connected(loop, end) for end in socket.socketpair())
    for number, (value, size) in enumerate(sent):
        one.pipe.send(value, bytes([number]) * size)
    loop.eventually(lambda: len(other.heard) == len(sent), "all have come")
    expected = [(value, bytes([number]) * size) for number, (value, size) in enumerate(sent)]
    for is_large in (False, True):
        assert list(of_size(other.heard, is_large)) == list(of_size(expected, is_large))
    assert one.pipe.unwritten == [] and not one.pipe.writing
    one.pipe.close()
    other.pipe.close()
    loop.turn()


def of_size(messages: list[Message[Any]], is_large: bool) -> Iterator[Message[Any]]:
    """Large ones are in order among themselves, and so are all others, which overtake them."""
    return (message for message in messages if (len(message[1]) > PIECE_BYTES) == is_large)


def test_messages_overtake_a_large_one(loop: Loop, ends: tuple[End, End]) -> None:
    one, other = ends
    one.pipe.send("large", bytes(100 * PIECE_BYTES))
    one.pipe.send("larger", bytes(200 * PIECE_BYTES))
    for number in range(10):
        loop.turn(2)  # a piece in each
        one.pipe.send(number, b"small")
    loop.eventually(lambda: len(other.heard) == 12, "all have come")
    large = [("large", bytes(100 * PIECE_BYTES)), ("larger", bytes(200 * PIECE_BYTES))]
    assert other.heard == [*((number, b"small") for number in range(10)), *large]


def test_a_backlog_ends_when_the_other_end_reads(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    end, theirs = raw
    payload = bytes(4 * 1024 * 1024)
    count = MAX_BACKLOG_BYTES // len(payload) + 2
    for number in range(count):
        end.pipe.send(number, payload)
    loop.turn()
    assert end.pipe.is_backlogged and not end.room

    def read() -> bool:
        with contextlib.suppress(BlockingIOError):
            while theirs.recv(len(payload)):
                pass
        return not end.pipe.writing

    loop.eventually(read, "all is written")
    assert not end.pipe.is_backlogged and end.room == count - 1, "after the second and every later one"


def test_messages_go_both_ways_at_once(loop: Loop, ends: tuple[End, End]) -> None:
    one, other = ends
    for number in range(50):
        for end in ends:
            end.pipe.send(number, bytes(2 * PIECE_BYTES))
    loop.eventually(lambda: len(one.heard) == len(other.heard) == 50, "all have come")
    assert [value for value, _ in one.heard] == [value for value, _ in other.heard] == list(range(50))


def test_messages_of_one_pass_are_sent_in_one_write(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    end, theirs = raw
    for number in range(3):
        end.pipe.send(number)
    with pytest.raises(BlockingIOError):
        theirs.recv(1000)
    assert end.pipe.unwritten == [0, 1, 2] and end.pipe.writing
    loop.eventually(lambda: not end.pipe.writing, "it is written")
    assert theirs.recv(1000) == b"".join(map(encoded, range(3)))
    assert end.pipe.unwritten == []


def test_many_messages_of_one_pass_do_not_wait_for_its_end(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    end, theirs = raw
    for number in range(2 * MESSAGES_PER_WRITE + 1):
        end.pipe.send(number)
    assert theirs.recv(1000) == b"".join(map(encoded, range(2 * MESSAGES_PER_WRITE)))
    assert end.pipe.unwritten == [2 * MESSAGES_PER_WRITE]
    loop.eventually(lambda: not end.pipe.writing, "the last one is written")
    assert theirs.recv(1000) == encoded(2 * MESSAGES_PER_WRITE)


def test_messages_before_the_connection_are_written(loop: Loop) -> None:
    ours, theirs = socket.socketpair()

    async def early() -> End:
        end = End()
        end.pipe.send("hello")
        await asyncio.sleep(0)
        await asyncio.get_running_loop().create_unix_connection(lambda: end.pipe, sock=ours)
        return end

    end, other = loop.run(early()), connected(loop, theirs)
    loop.eventually(lambda: other.heard == [("hello", b"")], "it has come")
    for one in (end, other):
        one.pipe.close()
    loop.turn()


def test_a_message_may_arrive_byte_by_byte(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    end, theirs = raw
    for message, heard in ((encoded(["state", 1], b"payload"), (["state", 1], b"payload")), (encoded("next"), ("next", b""))):
        for number, byte in enumerate(message):
            assert heard not in end.heard
            theirs.send(bytes([byte]))
            left = (number + 1) % len(message)
            loop.eventually(lambda left=left: len(end.pipe._in) == left, "it was read")  # type: ignore[misc]
        assert end.heard[-1] == heard


@given(messages, st.lists(st.integers(1, 5000), min_size=1))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_messages_may_arrive_in_pieces_of_any_size(loop: Loop, sent: list[tuple[list[Any], int]], sizes: list[int]) -> None:
    async def receive() -> list[Any]:
        end = End()
        stream = b"".join(encoded(value, bytes(size)) for value, size in sent)
        at = turn = 0
        while at < len(stream):
            size = sizes[turn % len(sizes)]
            end.pipe.data_received(stream[at : at + size])
            at, turn = at + size, turn + 1
        return end.heard

    assert loop.run(receive()) == [(value, bytes(size)) for value, size in sent]


# ── an end that does not read ──


def test_unread_messages_wait(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    end, theirs = raw
    end.pipe.send("large", bytes(4_000_000))
    loop.turn(10)
    end.pipe.send("before its end")
    loop.turn()
    assert end.pipe.writing and end.pipe.unwritten == ["before its end"]
    wanted = encoded("large", bytes(4_000_000)), encoded("before its end")
    come = bytearray()
    loop.eventually(lambda: drain(theirs, come) >= sum(map(len, wanted)), "all has come")
    assert bytes(come).replace(wanted[1], b"") == wanted[0]
    loop.eventually(lambda: not end.pipe.writing, "all is written")
    assert end.pipe.unwritten == []


def drain(theirs: socket.socket, come: bytearray) -> int:
    """Read what has come; how much that is by now."""
    with contextlib.suppress(BlockingIOError):
        come += theirs.recv(1 << 20)
    return len(come)


def test_finish_writes_waiting_messages_and_closes(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    end, theirs = raw
    end.pipe.send("large", bytes(4_000_000))
    end.pipe.send("last words")
    finishing = loop.loop.create_task(end.pipe.finish())
    loop.turn()
    assert not finishing.done(), "the other end does not read"
    wanted = encoded("last words") + encoded("large", bytes(4_000_000))
    come = bytearray()
    loop.eventually(lambda: drain(theirs, come) >= len(wanted), "all has come")
    loop.eventually(finishing.done, "it has finished")
    assert come == wanted
    loop.eventually(lambda: theirs.recv(1) == b"", "and is closed")


def test_finish_ends_when_the_other_end_has_closed(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    end, theirs = raw
    end.pipe.send("large", bytes(4_000_000))
    finishing = loop.loop.create_task(end.pipe.finish())
    loop.turn()
    theirs.close()
    loop.eventually(finishing.done, "it has finished")


# ── the end of a pipe ──


def test_messages_before_the_end_are_received_first(loop: Loop, ends: tuple[End, End]) -> None:
    one, other = ends
    one.pipe.send("last words")
    loop.run(asyncio.wait_for(one.pipe.finish(), BOUND_S))
    loop.eventually(lambda: other.lost, "the end")
    assert (other.heard, other.lost) == ([("last words", b"")], [None])


def test_a_truncated_message_is_dropped(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    end, theirs = raw
    theirs.send(encoded("whole") + encoded("cut off", bytes(100))[:-1])
    theirs.close()
    loop.eventually(lambda: end.lost, "the end")
    assert end.heard == [("whole", b"")]


def test_messages_before_a_failed_write_are_received_first(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    """The other end has answered and died; a failed write shows this before the answer is read."""
    end, theirs = raw
    loop.turn()
    end.pipe.send("not received")
    theirs.send(encoded("answer", bytes(100_000)))
    theirs.send(encoded("another"))
    theirs.close()
    loop.eventually(lambda: end.lost, "the end")
    assert [value for value, _ in end.heard] == ["answer", "another"]
    assert len(end.lost) == 1


def test_messages_before_a_reset_are_received_first(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    """The other end has died with unread messages: the kernel then reports an error together with
    its data."""
    end, theirs = raw
    end.pipe.send("unread")
    loop.eventually(lambda: not end.pipe.writing, "it is written")
    theirs.send(encoded("answer"))
    theirs.close()
    end.pipe.send("not received")
    loop.eventually(lambda: end.lost, "the end")
    assert [value for value, _ in end.heard] == ["answer"]


def test_unsent_messages_are_returned(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    """The broker sends them to the next reader; messages that may have been received must not be
    sent twice."""
    end, theirs = raw
    end.pipe.send("received")
    loop.eventually(lambda: not end.pipe.writing, "it is written")
    assert theirs.recv(1000) == encoded("received")
    theirs.close()
    end.pipe.send("not received")
    assert end.pipe.unwritten == ["not received"]
    loop.eventually(lambda: end.lost, "the end")
    assert end.pipe.unwritten == ["not received"]


def test_messages_behind_a_full_socket_are_returned_at_the_end(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    end, theirs = raw
    end.pipe.send("large", bytes(4_000_000))
    loop.turn(10)
    for number in range(3):
        end.pipe.send(number)
    loop.turn()
    theirs.close()
    loop.eventually(lambda: end.lost, "the end")
    assert end.pipe.unwritten == [0, 1, 2]


def test_messages_behind_a_write_that_continues_are_returned_at_the_end(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    """The other end reads a part of a long write and dies: no message behind that write has left."""
    end, theirs = raw
    for _ in range(MESSAGES_PER_WRITE):
        end.pipe.send("long", bytes(PIECE_BYTES))
    end.pipe.send("behind")
    length = len(end.pipe._rest)
    theirs.recv(length)
    loop.eventually(lambda: 0 < len(end.pipe._rest) < length, "the write continues")
    theirs.close()
    loop.eventually(lambda: end.lost, "the end")
    assert end.pipe.unwritten == ["behind"]


def test_sending_on_a_lost_pipe_does_not_fail(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    end, theirs = raw
    theirs.close()
    loop.eventually(lambda: end.lost, "the end")
    end.pipe.send("too late")
    loop.turn()
    loop.run(asyncio.wait_for(end.pipe.finish(), BOUND_S))
    assert end.pipe.unwritten == ["too late"]
    assert len(end.lost) == 1


def test_a_pipe_closed_by_its_owner_is_not_lost(loop: Loop, ends: tuple[End, End]) -> None:
    one, other = ends
    one.pipe.close()
    loop.eventually(lambda: other.lost, "the other end sees it")
    one.pipe.close()
    loop.turn()
    assert one.lost == []


@pytest.mark.parametrize("way", ["closed", "failed", "finished"])
def test_a_closed_pipe_leaves_no_socket_open(loop: Loop, way: str) -> None:
    before = open_sockets()
    one, other = (connected(loop, end) for end in socket.socketpair())
    if way == "closed":
        one.pipe.close()
    elif way == "failed":
        one.pipe.data_received(b"\xff" * 100)
    else:
        loop.run(asyncio.wait_for(one.pipe.finish(), BOUND_S))
    loop.eventually(lambda: other.lost, "the end")
    loop.turn()
    assert open_sockets() <= before  # while the loop stands still: it has some of its own while it runs


def open_sockets() -> set[str]:
    """Those of this process, by their inodes."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {name for name in found if name.startswith("socket:")}


# ── strangers ──

STRANGERS = {
    "a request in JSON": b'{"method": "ping"}\n',
    "HTTP": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "ZeroMQ's greeting": b"\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL" + bytes(48),
    "a value that is too large": (MAX_VALUE_BYTES + 1).to_bytes(4, "big") + bytes(4),
    "no value": bytes(8),
    "a value that is no MessagePack": bytes([0, 0, 0, 1, 0, 0, 0, 0, 0xC1]),
    "a value with something behind it": bytes([0, 0, 0, 2, 0, 0, 0, 0, 1, 1]),
}


@pytest.mark.parametrize("said", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_is_disconnected(loop: Loop, raw: tuple[End, socket.socket], said: bytes) -> None:
    end, theirs = raw
    theirs.send(said)
    loop.eventually(lambda: end.lost, "it is lost")
    assert isinstance(end.lost[0], ValueError)
    assert end.heard == []
    loop.eventually(lambda: _closed(theirs), "its connection is closed")
    loop.turn()
    assert len(end.lost) == 1


def _closed(theirs: socket.socket) -> bool:
    try:
        return theirs.recv(1000) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def test_a_failed_handler_ends_only_its_pipe(loop: Loop, raw: tuple[End, socket.socket]) -> None:
    end, theirs = raw
    fault = RuntimeError("a bug")

    def fails(pipe: Pipe[Any], received: list[Message[Any]]) -> None:
        raise fault

    end.pipe._on_messages = fails
    theirs.send(encoded("x"))
    loop.eventually(lambda: end.lost, "it is lost")
    assert end.lost == [fault]
    loop.eventually(lambda: _closed(theirs), "its connection is closed")


def test_a_stale_socket_is_replaced_with_owner_only_permissions(loop: Loop, tmp_path: Path) -> None:
    path = str(tmp_path / "readers")
    bind_unix(path, PRIVATE).close()
    accepted: list[End] = []

    def accept() -> Pipe[Any]:
        accepted.append(End())
        return accepted[-1].pipe

    async def serve_and_connect() -> tuple[asyncio.Server, End]:
        with pytest.raises(OSError):
            await asyncio.get_running_loop().create_unix_connection(asyncio.Protocol, path)
        listening = bind_unix(path, PRIVATE)
        assert Path(path).stat().st_mode & 0o777 == 0o600
        server = await asyncio.get_running_loop().create_unix_server(accept, sock=listening)
        end = End()
        await asyncio.get_running_loop().create_unix_connection(lambda: end.pipe, path)
        return server, end

    server, end = loop.run(serve_and_connect())
    end.pipe.send("hello")
    loop.eventually(lambda: accepted and accepted[0].heard == [("hello", b"")], "it is heard")
    server.close()
    for one in (end, *accepted):
        one.pipe.close()
    loop.turn()
