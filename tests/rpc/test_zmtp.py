"""One end of a ZeroMQ connection: messages are assembled from pieces, and violations of
rules and limits are refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amid.rpc.zmtp import MAX_TO_SEND_BYTES, Refused, ZmtpProtocol, encode_frames
from tests.processes.zmtp import COMMAND, GREETING, GREETING_2, LONG, MORE, frame, ready

MAX_BYTES, MAX_FRAMES = 100_000, 16
READY = ready({"Socket-Type": b"DEALER"})


def received(data: bytes, piece: int = 1 << 20) -> tuple[ZmtpProtocol, list[list[bytes]]]:
    protocol, messages = ZmtpProtocol(MAX_BYTES, MAX_FRAMES), []
    for start in range(0, len(data), piece):
        protocol.feed(data[start : start + piece])
        while (message := protocol.next_message()) is not None:
            messages += [message] if message else []
    return protocol, messages


@given(st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=MAX_FRAMES), max_size=5), st.integers(1, 500))
def test_messages_are_assembled_from_any_pieces(messages: list[list[bytes]], piece: int) -> None:
    protocol, came = received(GREETING + READY + b"".join(map(encode_frames, messages)), piece)
    assert came == messages
    assert protocol.identity == b"" and protocol.held_bytes == 0 and not protocol.has_input


def test_it_greets_at_once_and_sends_ready_after_the_peers_greeting() -> None:
    protocol, _ = received(b"")
    assert protocol.to_send[:12] == b"\xff" + bytes(8) + b"\x7f\x03\x01" and len(protocol.to_send) == 64
    protocol, _ = received(GREETING)
    assert b"\x05READY" in protocol.to_send and b"ROUTER" in protocol.to_send


def test_a_dealer_and_a_router_exchange_messages() -> None:
    dealer, router = ZmtpProtocol(MAX_BYTES, MAX_FRAMES, b"DEALER"), ZmtpProtocol(MAX_BYTES, MAX_FRAMES)
    for _ in range(2):  # the greetings, then READY
        to_router, to_dealer = bytes(dealer.to_send), bytes(router.to_send)
        dealer.to_send.clear()
        router.to_send.clear()
        router.feed(to_router)
        dealer.feed(to_dealer)
        assert (dealer.identity, router.identity) == (None, None)
        assert not dealer.next_message() and not router.next_message()
    assert (dealer.identity, router.identity) == (b"", b"")
    dealer.feed(encode_frames([b"", b"answer"]))
    assert dealer.next_message() == [b"", b"answer"]


def test_a_dealer_refuses_another_dealer() -> None:
    dealer = ZmtpProtocol(MAX_BYTES, MAX_FRAMES, b"DEALER")
    dealer.feed(GREETING + READY)
    with pytest.raises(Refused, match="none of ROUTER"):
        dealer.next_message()


def test_the_routing_id_of_a_peer_is_read() -> None:
    assert received(GREETING + ready({"Socket-Type": b"REQ", "Identity": b"crm"}))[0].identity == b"crm"


def test_a_heartbeat_is_answered_with_its_context() -> None:
    protocol, _ = received(GREETING + READY + frame(b"\x04PING\0\x0acontext", COMMAND))
    assert protocol.to_send.endswith(frame(b"\x04PONGcontext", COMMAND))


def test_many_commands_do_not_block_other_connections() -> None:
    protocol, _ = received(GREETING + READY)
    protocol.feed(frame(b"\0", COMMAND) * 2 + encode_frames([b"", b"request"]))
    assert [protocol.next_message() for _ in range(4)] == [[], [], [b"", b"request"], None]
    assert not protocol._input


def test_a_taken_message_is_not_kept() -> None:
    protocol, messages = received(GREETING + READY + encode_frames([b"", bytes(MAX_BYTES)]))
    assert len(messages) == 1 and not protocol._input


def test_unread_heartbeat_replies_are_limited() -> None:
    protocol, _ = received(GREETING + READY + frame(b"\x04PING\0\x0acontext", COMMAND) * 10_000)
    assert len(protocol.to_send) < MAX_TO_SEND_BYTES + 100


REFUSED = {
    "no ZMTP": b"GET / HTTP/1.1\r\n",
    "ZMTP 1": b"\x01\0",
    "ZMTP 1, of a long frame": b"\xff" + bytes(9),
    "ZMTP 2": GREETING_2,
    "CURVE": GREETING.replace(b"NULL\0", b"CURVE"),
    "a subscriber": GREETING + ready({"Socket-Type": b"SUB"}),
    "no socket type": GREETING + ready({}),
    "a command before READY": GREETING + frame(b"\x04PING\0\0", COMMAND),
    "a property that ends early": GREETING + frame(b"\x05READY\x0bSocket", COMMAND),
    "an empty command": GREETING + frame(b"", COMMAND),
    "a message before READY": GREETING + frame(b"x"),
    "unknown flags": GREETING + READY + b"\x08\0",
    "an error": GREETING + READY + frame(b"\x05ERROR\0", COMMAND),
    "a long command": GREETING + READY + frame(bytes(1025), COMMAND),
    "the head of a large frame": GREETING + READY + bytes([LONG]) + struct.pack(">Q", MAX_BYTES + 1),
    "a frame that makes its message too large": GREETING + READY + frame(bytes(60_000), MORE) * 2,
    "many frames": GREETING + READY + bytes([MORE, 0]) * 17,
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_protocol_violations_are_refused(data: bytes, piece: int) -> None:
    with pytest.raises(Refused):
        received(data, piece)


def test_bytes_of_an_unfinished_message_are_counted() -> None:
    data = frame(bytes(1000), MORE) + frame(bytes(1000))[:500]
    assert received(GREETING + READY + data)[0].held_bytes == 1500
