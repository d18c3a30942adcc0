"""When a request that fails is worth a line in the log, and that it succeeds again."""

from __future__ import annotations

import logging
import time

WITHIN_DAEMON_S = 10.0
"""Grace for amid's own processes: the broker starts with them, ends before them, and is replaced
sooner. All of that is logged already."""


class Outage:
    """Logs a failure that repeats once, when it has lasted for `grace_s`, and the next success.

    subject, what: `pbx1` and `events` make "pbx1: no events, retrying: …" and "pbx1: events
    resumed".
    """

    def __init__(self, log: logging.Logger, subject: str, what: str, grace_s: float) -> None:
        self._log = log
        self._subject = subject
        self._what = what
        self._grace_s = grace_s
        self._since: float | None = None
        self._is_logged = False

    @property
    def lasts(self) -> bool:
        """Whether the last request failed."""
        return self._since is not None

    def failed(self, reason: str) -> None:
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if not self._is_logged and now >= self._since + self._grace_s:
            self._is_logged = True
            self._log.warning("%s: no %s, retrying: %s", self._subject, self._what, reason)

    def succeeded(self) -> None:
        if self._is_logged:
            self._log.warning("%s: %s resumed", self._subject, self._what)
        self._since, self._is_logged = None, False
