"""Owners of connections, and the limits for each."""

from __future__ import annotations

import pytest

from amid.errors import AmidError
from amid.gateway.connections import MAX_PIPELINED_BYTES, MAX_UNREAD_BYTES, Connections


class Transport:
    def __init__(self) -> None:
        self.closed = False
        self.unread = 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return self.unread


def opened(connections: Connections, count: int, network: str = "192.0.2.1") -> list[Transport]:
    transports = [Transport() for _ in range(count)]
    for transport in transports:
        connections.opened(transport, network)
    return transports


def test_a_new_stranger_evicts_a_stranger_but_never_a_token() -> None:
    connections = Connections(3, 10)
    (held,) = opened(connections, 1)
    connections.identify(held, "crm")
    strangers = opened(connections, 5)
    assert [one.closed for one in strangers] == [True, True, False, False, False] and not held.closed
    assert (connections.count(), connections.evicted) == ({"connections_strangers": 3, "connections_tokens": 1}, 2)


def test_the_network_with_the_most_strangers_is_evicted_first() -> None:
    connections = Connections(4, 10)
    (other,) = opened(connections, 1, "198.51.100.1")
    crowd = opened(connections, 8)
    assert not other.closed and [one.closed for one in crowd] == [True] * 5 + [False] * 3


def test_closed_strangers_do_not_count() -> None:
    connections = Connections(3, 10)
    first, *_, last = opened(connections, 3)
    last.close()
    opened(connections, 1)
    assert not first.closed and connections.evicted == 0


def test_connections_of_one_token_are_limited() -> None:
    connections = Connections(10, 2)
    *own, further = opened(connections, 3)
    for transport in own:
        connections.identify(transport, "crm")
    with pytest.raises(AmidError, match="max_connections_per_token") as refused:
        connections.identify(further, "crm")
    assert (refused.value.kind, refused.value.sent) == ("busy", False)
    connections.identify(own[0], "crm")  # each further request on it
    connections.identify(further, "wallboard")
    connections.identify(own[0], "wallboard")  # a connection is counted for its last token
    own[1].close()
    for transport in opened(connections, 2):
        connections.identify(transport, "crm")


def test_unread_bytes_of_a_token_are_limited_over_all_connections() -> None:
    connections = Connections(10, 10)
    for transport in opened(connections, 2):
        connections.identify(transport, "crm")
        transport.unread = MAX_UNREAD_BYTES // 2 - 1000
    connections.check_unread("crm", 1000)
    connections.check_unread("wallboard", MAX_UNREAD_BYTES)
    with pytest.raises(AmidError, match="unread") as refused:
        connections.check_unread("crm", 3000)
    assert (refused.value.kind, refused.value.sent) == ("too_large", True)
    transport.close()
    connections.check_unread("crm", 3000)


def test_a_connection_with_unread_responses_gets_no_further_request() -> None:
    connections = Connections(10, 10)
    (transport,) = opened(connections, 1)
    connections.identify(transport, "crm")
    transport.unread = MAX_PIPELINED_BYTES + 1
    with pytest.raises(AmidError, match="still unread"):
        connections.identify(transport, "crm")


def test_the_connections_of_a_session_are_closed_with_it() -> None:
    connections = Connections(10, 10)
    stream, call, other = opened(connections, 3)
    for transport, session in ((stream, b"one"), (call, b"one"), (other, b"two")):
        connections.identify(transport, "crm", session)
    connections.end_session(b"one", besides=call)
    assert (stream.closed, call.closed, other.closed) == (True, False, False)
