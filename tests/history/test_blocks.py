from __future__ import annotations

import contextlib

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


def test_no_flipped_bit_of_a_block_changes_an_event() -> None:
    packed = [wire.pack({"CallerIDNum": f"030{n}"}) for n in range(20)]
    body = COMPRESSOR.compress(packed)
    for bit in range(8 * len(body)):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        with contextlib.suppress(ValueError):
            assert [bytes(event) for event in blocks.decompress(bytes(damaged))] == packed
