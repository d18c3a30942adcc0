"""When a failure that repeats is worth a line in the log, and that it has ended."""

from __future__ import annotations

import logging
import time

WITHIN_DAEMON_S = 10.0
"""Grace for amid's own processes: the broker starts with them, ends before them, and is replaced
sooner. All of that is logged already."""


class Outage:
    """Logs a failure that repeats once, when it has lasted for `grace_s`, and the next success.

    failure: the line of a failure, to which the reason is added. end: the line of the success.
    level: of the first one; the second one is a warning.
    """

    def __init__(self, log: logging.Logger, failure: str, end: str, grace_s: float, level: int = logging.WARNING) -> None:
        self._log = log
        self._failure = failure
        self._end = end
        self._grace_s = grace_s
        self._level = level
        self._since: float | None = None
        self._is_logged = False

    @property
    def lasts(self) -> bool:
        """Whether the last attempt failed."""
        return self._since is not None

    def failed(self, reason: str) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if not self._is_logged and now >= self._since + self._grace_s:
            self._is_logged = True
            self._log.log(self._level, "%s: %s", self._failure, reason)

    def succeeded(self) -> None:
        if self._is_logged:
            self._log.warning("%s", self._end)
        self._since, self._is_logged = None, False


def no_events(log: logging.Logger, server: str, grace_s: float) -> Outage:
    """Of the requests for the events of a server."""
    return Outage(log, f"{server}: no events, retrying", f"{server}: events resumed", grace_s)
