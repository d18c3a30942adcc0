"""The TCP addresses of a process. One that cannot be listened on is tried again until it can be.

A port in use must not end the process: it serves local programs too, or other addresses, and it
would fail again at the next start. So the failure is logged once, shown in `amid status`, and the
address is tried again with back-off.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable, Iterable

import zmq

from amid.supervision.backoff import Backoff

log = logging.getLogger("amid.process")

RETRY_MIN_S = 0.2
RETRY_MAX_S = 15.0
NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.ENODEV}
"""libzmq reports ENODEV for a name or an interface that does not exist."""

Report = Callable[[str, str], object]
"""Takes an address, and why it cannot be listened on, "" when it can be."""


class Bindings:
    """Listens on addresses, on the running loop.

    bind: listens on one address; it raises `OSError` or `zmq.ZMQError`. key: the key of the
    configuration with the addresses.

    The first failure is not reported: libzmq closes sockets in a thread, so one that was just
    closed may still hold the port.
    """

    def __init__(self, bind: Callable[[str], object], key: str, report: Report) -> None:
        self._bind = bind
        self._key = key
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._failed: dict[str, str | None] = {}
        """The addresses without a socket, and what was reported of each: None before a failure."""
        self._timer: asyncio.TimerHandle | None = None

    def listen(self, addresses: Iterable[str]) -> None:
        """Listen on these addresses. Others that have failed are not tried any more."""
        self.close()
        self._failed = dict.fromkeys(addresses)
        self._backoff = Backoff(RETRY_MIN_S, RETRY_MAX_S)
        self._try()

    def close(self) -> None:
        """Try no more."""
        if self._timer is not None:
            self._timer.cancel()
        for address in [address for address, reported in self._failed.items() if reported]:
            self._report(address, "")
        self._failed.clear()

    def _try(self) -> None:
        for address, reported in list(self._failed.items()):
            try:
                self._bind(address)
            except (OSError, zmq.ZMQError) as error:
                self._on_failure(address, f"cannot listen on {address}: {describe_bind_error(error.errno or 0, self._key)}")
                continue
            del self._failed[address]
            if reported:
                log.warning("listening on %s now", address)
                self._report(address, "")
        if self._failed:
            self._timer = self._loop.call_later(self._backoff.next(), self._try)

    def _on_failure(self, address: str, problem: str) -> None:
        reported = self._failed[address]
        if reported is None:
            self._failed[address] = ""
        elif problem != reported:
            self._failed[address] = problem
            log.error("%s; trying again until it works", problem)
            self._report(address, problem)


def describe_bind_error(number: int, key: str) -> str:
    """Why an address cannot be listened on, with the key of the configuration to change.

    number: the errno, or the code of getaddrinfo(3), which is negative.
    """
    if number == errno.EADDRINUSE:
        return f"address already in use; change {key}"
    if number in NO_SUCH_ADDRESS or number < 0:
        return f"this machine does not have the address; change {key}"
    if number in {errno.EACCES, errno.EPERM}:
        return f"permission denied, as for ports below 1024 without root; change {key}"
    return os.strerror(number)
