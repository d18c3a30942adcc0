"""Which of several instances serves a server: a lease on one key of a bucket.

The keys of the bucket expire after `ttl_s`. `create` of the key takes the lease, and `update` at the
last revision renews it. An owner that could not renew for FENCE of the TTL gives the lease up,
before the key can expire. The time counts from before the last successful request was sent.

The fence keeps order while the clocks run. It cannot stop an owner that was suspended between its
check and its send: what keeps that owner from storing anything is in `messages`.
"""

from __future__ import annotations

from typing import NamedTuple

FENCE = 0.7
"""Share of the TTL after which an owner without a renewal gives the lease up."""
RENEW = 1 / 3
"""Share of the TTL between two renewals."""
RETRY = 1 / 8
"""Share of the TTL between two attempts to take the lease. Together with the TTL, a take-over stays
within 1.5 times the TTL."""


class Create(NamedTuple):
    """Take the lease if it is free."""


class Renew(NamedTuple):
    """Update the key if it still has this revision."""

    revision: int


Step = Create | Renew


class Lease:
    """Times are seconds on a monotonic clock. `next_at`: when `step` is due."""

    def __init__(self, ttl_s: float, now: float) -> None:
        self._ttl_s = ttl_s
        self._revision: int | None = None
        self._proved_at = now
        self.next_at = now

    def step(self) -> Step:
        return Create() if self._revision is None else Renew(self._revision)

    @property
    def revision(self) -> int | None:
        """The key's revision, while this instance has the lease as far as it knows."""
        return self._revision

    def granted(self, revision: int, sent_at: float) -> None:
        """The key was created or renewed by a request sent at `sent_at`."""
        self._revision = revision
        self._proved_at = sent_at
        self.next_at = sent_at + RENEW * self._ttl_s

    def refused(self, now: float) -> None:
        """Another instance has the key."""
        self._revision = None
        self.next_at = now + RETRY * self._ttl_s

    def failed(self, now: float) -> None:
        """No answer, or an error that is not about the key: a lease that is held stays held until
        its fence."""
        if not self.holds(now):
            self._revision = None
        self.next_at = now + RETRY * self._ttl_s

    def holds(self, now: float) -> bool:
        """Whether this instance may act as the owner."""
        return self._revision is not None and now < self.fence_at

    @property
    def fence_at(self) -> float:
        """When the lease is given up unless it is renewed."""
        return self._proved_at + FENCE * self._ttl_s
