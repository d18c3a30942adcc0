"""The text of an error says which key to change."""

from __future__ import annotations

import errno

import pytest

from amid.process.bind_errors import describe_bind_error


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EADDRINUSE, "address already in use; change listen in [rpc]"),
        (errno.EADDRNOTAVAIL, "this machine does not have the address; change listen in [rpc]"),
        (errno.EACCES, "permission denied, as for ports below 1024 without root; change listen in [rpc]"),
        (errno.EMFILE, "Too many open files"),
    ],
)
def test_a_failed_bind_is_described(number: int, words: str) -> None:
    assert describe_bind_error(number, "listen in [rpc]") == words
