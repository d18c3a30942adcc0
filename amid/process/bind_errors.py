"""Why an address cannot be listened on, in words that name the key to change."""

from __future__ import annotations

import errno
import os

NO_SUCH_ADDRESS = {errno.EADDRNOTAVAIL, errno.ENODEV}
"""libzmq reports ENODEV for a name or an interface that does not exist."""


def describe_bind_error(number: int, key: str) -> str:
    """number: the errno. key: the key of the configuration with the address."""
    if number == errno.EADDRINUSE:
        return f"address already in use; change {key}"
    if number in NO_SUCH_ADDRESS:
        return f"this machine does not have the address; change {key}"
    if number in {errno.EACCES, errno.EPERM}:
        return f"permission denied, as for ports below 1024 without root; change {key}"
    return os.strerror(number)
