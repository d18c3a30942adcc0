"""The relay itself: it passes bytes on unless told otherwise, and each of its faults is the one that it is named after."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.daemon import eventually
from tests.faults.mangling import LATE_S, Answers, Asked, Late, Mangler, Piece, Renamed, Swapped, Twice
from tests.faults.relay import LATENCY_S, Relay

GREETING = b"Asterisk Call Manager/11.0.0\r\n"
FIRST = b"Response: Success\r\nActionID: amid-1\r\nMessage: a\r\n\r\n"
EVENT = b"Event: UserEvent\r\nActionID: amid-1\r\nToken: t\r\n\r\n"
LIST = (
    b"Response: Success\r\nActionID: amid-2\r\nEventList: start\r\n\r\n"
    b"Event: Item\r\nActionID: amid-2\r\n\r\n"
    b"Event: ListComplete\r\nActionID: amid-2\r\nEventList: Complete\r\nListItems: 1\r\n\r\n"
)
LAST = b"Response: Error\r\nActionID: amid-3\r\nMessage: no\r\n\r\n"
STREAM = GREETING + b"Response: Success\r\nActionID: amid-0\r\n\r\n" + FIRST + EVENT + LIST + LAST
DATA_SEGS_IN = 152
"""Where the segments with data that came stand in struct tcp_info (linux/tcp.h)."""


# ── mangling ──


def cut(data: bytes, size: int, answers: Answers) -> list[Piece]:
    return [piece for start in range(0, len(data), size) for piece in answers.feed(data[start : start + size])]


@pytest.mark.parametrize("size", [1, 2, 7, 100, 10_000])
def test_answers_are_cut_at_packet_ends(size: int) -> None:
    answers = Answers(at_boundary=False)
    pieces = cut(STREAM + b"Event: Half", size, answers)
    assert pieces[-4:] == [Piece(FIRST, True), Piece(EVENT), Piece(LIST, True), Piece(LAST, True)]
    assert b"".join(piece.data for piece in pieces[:-4]) == STREAM[: STREAM.index(FIRST)]
    assert not any(piece.answer for piece in pieces[:-4])
    assert answers.flush() == b"Event: Half"


def test_a_greeting_is_passed_on_at_once() -> None:
    assert Answers(at_boundary=False).feed(GREETING) == [Piece(GREETING)]


def test_an_incomplete_list_is_flushed() -> None:
    answers = Answers(at_boundary=True)
    assert answers.feed(LIST[:-3]) == []
    assert answers.flush() == LIST[:-3]


def mangled(mangler: Mangler, count: int = 200) -> tuple[list[Piece], list[Piece]]:
    asked = [Piece(FIRST.replace(b"amid-1", b"amid-%d" % number), True) for number in range(count)]
    return asked, [piece for answer in asked for piece in mangler(answer)]


def test_twice() -> None:
    mangler = Twice(random.Random(1))
    asked, given = mangled(mangler)
    twice = [answer for answer in asked for _ in range(2)]
    assert given + [Piece(mangler.flush(), True)] * bool(mangler.flush()) == twice


def test_swapped() -> None:
    mangler = Swapped(random.Random(1))
    asked, given = mangled(mangler)
    held = [Piece(mangler.flush(), True)] if mangler.flush() else []
    assert given != asked and sorted(given + held) == sorted(asked)
    assert all(abs(asked.index(piece) - place) <= 1 for place, piece in enumerate(given))


def test_late() -> None:
    asked, given = mangled(Late(random.Random(1)))
    assert [piece._replace(delay=0.0) for piece in given] == asked
    assert {piece.delay for piece in given} == {0.0, LATE_S}


def test_a_renamed_answer_never_has_the_open_id() -> None:
    known = Asked()
    known.request("there", b"Action: Ping\r\nActionID: amid-there\r\n\r\n")
    known.request("here", b"".join(b"ActionID: amid-%d\r\n" % number for number in range(200)))
    _, given = mangled(Renamed(random.Random(1), known, "here"))
    names = [piece.data.split(b"ActionID: ")[1].split(b"\r\n")[0] for piece in given]
    changed = {name: number for number, name in enumerate(names) if name != b"amid-%d" % number}
    assert b"amid-there" in changed and any(len(name) == 37 for name in changed)
    ended = {name: number for name, number in changed.items() if len(name) < 9}
    assert ended and all(int(name[5:]) < number for name, number in ended.items())


# ── the relay ──


class Far:
    """Who is relayed to: sends everything back."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            while True:
                threading.Thread(target=self._echo, args=(self.listener.accept()[0],), daemon=True).start()
        except OSError:
            return

    def _echo(self, peer: socket.socket) -> None:
        with peer:
            try:
                while data := peer.recv(65536):
                    peer.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def relay() -> Iterator[Relay]:
    with closing(Far()) as far, Relay("127.0.0.1", far.port) as relay:
        yield relay


def dial(relay: Relay) -> socket.socket:
    return socket.create_connection((relay.host, relay.port), 10.0)


def echo(peer: socket.socket, data: bytes) -> bytes:
    peer.sendall(data)
    return take(peer, len(data))


def take(peer: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count and (data := peer.recv(count - len(got))):
        got += data
    return got


def test_passes_on_and_keeps_its_port(relay: Relay) -> None:
    for _ in range(2):
        with dial(relay) as peer:
            data = random.randbytes(200_000)
            threading.Thread(target=peer.sendall, args=(data,)).start()
            assert take(peer, len(data)) == data
            peer.shutdown(socket.SHUT_WR)
            assert peer.recv(1) == b""


def test_a_connection_without_a_target_is_reset() -> None:
    with closing(Far()) as far:
        closed = far.port
    with Relay("127.0.0.1", closed) as relay, pytest.raises(ConnectionResetError), dial(relay) as peer:
        peer.recv(1)


def test_latency_on_old_and_new_connections(relay: Relay) -> None:
    with dial(relay) as old:
        echo(old, b"before")
        with relay.behaving("latency"), dial(relay) as new:
            for peer in (old, new):
                began = time.monotonic()
                assert echo(peer, b"hello") == b"hello"
                assert time.monotonic() - began >= 2 * LATENCY_S
        assert relay.acted() == 4
        assert echo(old, b"after") == b"after"


def test_every_byte_is_sent_separately(relay: Relay) -> None:
    """What waits for the other end's window may still leave together."""
    with dial(relay) as peer:
        echo(peer, b"before")
        before = segments(peer)
        with relay.behaving("bytes"):
            assert echo(peer, b"x" * 100) == b"x" * 100
        assert segments(peer) - before > 10


def segments(peer: socket.socket) -> int:
    info = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    count: int = struct.unpack_from("I", info, DATA_SEGS_IN)[0]
    return count


SPEECH: dict[str, Callable[[bytes], bool]] = {
    "garbage": lambda said: len(set(said)) > 100,
    "endless_line": lambda said: set(said) == {ord("x")},
}


@pytest.mark.parametrize("behaviour", SPEECH)
def test_an_impostor_sends_and_disconnects(relay: Relay, behaviour: str) -> None:
    says = SPEECH[behaviour]
    with dial(relay) as old:
        echo(old, EVENT)
        with relay.behaving(behaviour), dial(relay) as new:
            assert says(take(old, 3000)) and says(take(new, 3000))
        with pytest.raises(ConnectionResetError):
            while True:
                old.recv(65536)


def test_an_impostor_does_not_complete_a_packet_of_asterisk(relay: Relay) -> None:
    with dial(relay) as old:
        echo(old, EVENT + b"Event: Half")
        with relay.behaving("garbage"), pytest.raises(ConnectionResetError):
            old.recv(1)


def test_a_silent_impostor(relay: Relay) -> None:
    with dial(relay) as old:
        echo(old, EVENT)
        with relay.behaving("silent"), dial(relay) as new:
            for peer in (old, new):
                peer.sendall(EVENT)
            eventually(lambda: relay.acted() == 2, "it has both connections")
            for peer in (old, new):
                peer.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    peer.recv(1)
        old.settimeout(10.0)
        with pytest.raises(ConnectionResetError):
            old.recv(1)


@pytest.mark.parametrize("reset", [True, False])
def test_cut(relay: Relay, reset: bool) -> None:
    with dial(relay) as peer:
        echo(peer, b"before")
        assert relay.cut(reset) == 1
        if reset:
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
        else:
            assert peer.recv(1) == b""


def test_mangles_and_passes_on_afterwards(relay: Relay) -> None:
    with dial(relay) as peer:
        assert echo(peer, EVENT) == EVENT
        with relay.behaving("twice"):
            peer.sendall(EVENT + LIST + LIST + FIRST[:10])
            assert take(peer, len(EVENT + 3 * LIST)) == EVENT + 3 * LIST
            assert relay.acted() > 0
        peer.sendall(FIRST[10:] + LAST)
        assert take(peer, len(LIST + FIRST + LAST)) == LIST + FIRST + LAST
