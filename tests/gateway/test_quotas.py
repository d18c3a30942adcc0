"""The limits of each token for calls and for bytes of their bodies."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from amid.errors import AmidError
from amid.gateway.quotas import BODIES, Quotas


def test_calls_of_one_token_are_limited_and_released() -> None:
    quotas = Quotas(2, 1000)
    with ExitStack() as first:
        for _ in range(2):
            first.enter_context(quotas.call("crm"))
        with pytest.raises(AmidError, match="max_calls_per_token") as refused, quotas.call("crm"):
            pass
        assert (refused.value.kind, refused.value.sent) == ("busy", False)
        with quotas.call("wallboard"):
            pass
    with quotas.call("crm"):
        pass


def test_bytes_of_bodies_of_one_token_are_limited_and_released() -> None:
    quotas = Quotas(100, 1000)
    with quotas.call("crm") as first, quotas.call("crm") as second:
        first.reserve(1000 * BODIES - 10)
        second.reserve(10)
        with pytest.raises(AmidError, match="bytes of open requests") as refused:
            second.reserve(1)
        assert (refused.value.kind, refused.value.sent) == ("busy", False)
        with quotas.call("wallboard") as other:
            other.reserve(1000)
    with quotas.call("crm") as call:
        call.reserve(1000 * BODIES)
