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
import socket
from collections.abc import Awaitable, Callable, Iterable

import zmq

from amid.process.loop import start_task
from amid.process.name_lookup import look_up
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

    def __init__(self, bind: Callable[[str], Awaitable[object]], key: str, report: Report) -> None:
        self._bind = bind
        self._key = key
        self._report = report
        self._trying: dict[str, asyncio.Task[None]] = {}

    def listen(self, addresses: Iterable[str]) -> None:
        """Listen on these addresses. Others that have failed are not tried any more. One that is
        still being tried continues, so that its failure is not reported again."""
        before = {address: task for address, task in self._trying.items() if not task.done()}
        self._trying = {address: before.get(address) or start_task(self._listen(address)) for address in addresses}
        for address in before.keys() - self._trying.keys():
            before[address].cancel()

    def close(self) -> None:
        """Try no more."""
        self.listen(())

    async def _listen(self, address: str) -> None:
        backoff, reported = Backoff(RETRY_MIN_S, RETRY_MAX_S), ""
        try:
            failed = await self._try(address)
            while failed:
                await asyncio.sleep(backoff.next())
                failed = await self._try(address)
                if failed and failed != reported:
                    reported = failed
                    log.error("%s; trying again until it works", failed)
                    self._report(address, failed)
            if reported:
                log.warning("listening on %s now", address)
        finally:
            if reported:
                self._report(address, "")

    async def _try(self, address: str) -> str:
        """Why it cannot be listened on; "" if it is."""
        try:
            await self._bind(address)
        except (OSError, zmq.ZMQError) as error:
            return f"cannot listen on {address}: {describe_bind_error(error, self._key)}"
        return ""


async def listening_socket(address: str, all_addresses: Iterable[str], backlog: int) -> socket.socket:
    """A socket that listens on HOST:PORT. Raises `OSError`.

    `[::]` serves IPv4 as well, unless 0.0.0.0 is one of all addresses too or the system separates
    the two.
    """
    host, _, port = address.rpartition(":")
    both = host == "[::]" and f"0.0.0.0:{port}" not in all_addresses
    if both and not socket.has_dualstack_ipv6():
        log.warning("%s serves IPv6 only: add 0.0.0.0:%s for IPv4", address, port)
        both = False
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    (*_, found), *_ = await look_up(host.strip("[]"), int(port), family)
    return socket.create_server(found, family=family, backlog=backlog, dualstack_ipv6=both)


def describe_bind_error(error: OSError | zmq.ZMQError, key: str) -> str:
    """Why an address cannot be listened on, with the key of the configuration to change."""
    number = error.errno or 0
    if isinstance(error, socket.gaierror):
        return f"{error.strerror}; change {key}"
    if number == errno.EADDRINUSE:
        return f"address already in use; change {key}"
    if number in NO_SUCH_ADDRESS:
        return f"this machine does not have the address; change {key}"
    if number in {errno.EACCES, errno.EPERM}:
        return f"permission denied, as for ports below 1024 without root; change {key}"
    return os.strerror(number)
