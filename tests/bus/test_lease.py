"""The lease of a server, on a bucket with the semantics of JetStream's."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from amid.bus.protocol.lease import FENCE, RENEW, RETRY, Create, Lease, Renew

TTL = 10.0


def test_a_lease_is_renewed_every_third_of_the_ttl() -> None:
    lease = Lease(TTL, 100.0)
    assert (lease.step(), lease.next_at, lease.holds(100.0)) == (Create(), 100.0, False)
    lease.granted(5, sent_at=100.0)
    assert lease.step() == Renew(5)
    assert lease.next_at == 100.0 + RENEW * TTL
    assert lease.holds(100.0)


def test_a_lease_without_renewals_ends_at_the_fence() -> None:
    lease = Lease(TTL, 0.0)
    lease.granted(1, sent_at=0.0)
    lease.failed(RENEW * TTL)
    assert lease.holds(FENCE * TTL - 0.001)
    assert lease.step() == Renew(1)
    assert not lease.holds(FENCE * TTL)
    lease.failed(FENCE * TTL)
    assert lease.step() == Create()


def test_the_fence_counts_from_before_the_request_was_sent() -> None:
    lease = Lease(TTL, 0.0)
    lease.granted(1, sent_at=0.0)  # however long the answer took
    assert lease.fence_at == FENCE * TTL


def test_a_refused_renewal_ends_the_lease_at_once() -> None:
    lease = Lease(TTL, 0.0)
    lease.granted(1, sent_at=0.0)
    lease.refused(1.0)
    assert not lease.holds(1.0)
    assert (lease.step(), lease.next_at) == (Create(), 1.0 + RETRY * TTL)


@dataclass
class Bucket:
    """A bucket with one key: its revision, and when it was written."""

    revision: int = 0
    written_at: float = -100.0

    def try_step(self, lease: Lease, now: float) -> None:
        step = lease.step()
        alive = now < self.written_at + TTL
        fits = not alive if isinstance(step, Create) else alive and step.revision == self.revision
        if not fits:
            lease.refused(now)
            return
        self.revision += 1
        self.written_at = now
        lease.granted(self.revision, sent_at=now)


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.0, 12.0), st.booleans()), max_size=60))
def test_no_two_instances_hold_the_lease_at_once(steps: list[tuple[int, float, bool]]) -> None:
    """In any order, with any delays, and with lost answers."""
    now, bucket, leases = 0.0, Bucket(), [Lease(TTL, 0.0) for _ in range(3)]
    for who, pause, answered in steps:
        now += pause
        if answered:
            bucket.try_step(leases[who], now)
        else:
            leases[who].failed(now)
        assert sum(lease.holds(now) for lease in leases) <= 1


def test_a_take_over_is_within_one_and_a_half_ttl() -> None:
    bucket, owner, standby = Bucket(), Lease(TTL, 0.0), Lease(TTL, 0.0)
    bucket.try_step(owner, 0.0)
    now = 0.0
    while not standby.holds(now):
        now = standby.next_at
        bucket.try_step(standby, now)
    assert TTL <= now <= 1.5 * TTL
    assert not owner.holds(now)
