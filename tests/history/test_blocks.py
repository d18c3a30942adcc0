from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amid import wire
from amid.history import blocks

COMPRESSOR = blocks.Compressor()


@given(st.lists(st.dictionaries(st.text(), st.text() | st.binary()), max_size=20))
def test_events_are_unchanged_after_decompression(events: list[dict[str, str | bytes]]) -> None:
    packed = [wire.pack(event) for event in events]
    assert [bytes(event) for event in blocks.decompress(COMPRESSOR.compress(packed))] == packed


@pytest.mark.parametrize("damage", [lambda body: body[:-5], lambda body: b"x" + body, lambda body: b""])
def test_a_damaged_block_is_an_error(damage: object) -> None:
    body = COMPRESSOR.compress([wire.pack({"n": n}) for n in range(100)])
    with pytest.raises(ValueError):
        blocks.decompress(damage(body))  # type: ignore[operator]
