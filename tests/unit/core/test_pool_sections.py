from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import pytest

from bandit_router.core.pool_codec import CorruptState, StateTooNew, decode_pool_state, encode_pool_state
from bandit_router.core.pool_sections import SECTIONS, Section
from bandit_router.core.pool_state import PoolState
from tests.unit.core.test_pool_codec import assert_equal, make_state

PLAIN_MAGIC = b"BRPOOL01"


@dataclass(slots=True, eq=False)
class Noted(PoolState):
    """A state with one more kind of statistics."""

    note: bytes = b""


def notes(version: int = 1) -> Section:
    return Section("note", version, lambda state: getattr(state, "note", b"") or None, unpack_note)


seen: list[tuple[int, bytes]] = []


def unpack_note(state: PoolState, version: int, data: bytes) -> None:
    seen.append((version, data))


def noted(note: bytes) -> PoolState:
    plain = make_state(5, 3, ["a", "b"])
    return Noted(3, plain.arms, plain.positions, plain.version, plain.events, plain.projection_version, note=note)


def test_a_section_comes_back_beside_the_sums() -> None:
    seen.clear()
    state = noted(b"\x00payload")
    sections = (notes(), Section("other", 1, lambda _: b"xyz", unpack_note))
    assert_equal(decode_pool_state(encode_pool_state(state, sections), sections), state)
    assert seen == [(1, b"\x00payload"), (1, b"xyz")]


def test_a_state_with_nothing_new_in_it_is_written_as_before() -> None:
    assert encode_pool_state(noted(b""), (notes(),)) == encode_pool_state(noted(b""), ())
    assert encode_pool_state(noted(b""), ()).startswith(PLAIN_MAGIC)


def test_bytes_of_an_older_version_of_a_section_are_told_from_those_of_the_newest() -> None:
    seen.clear()
    decode_pool_state(encode_pool_state(noted(b"old"), (notes(1),)), (notes(2),))
    assert seen == [(1, b"old")]


@pytest.mark.parametrize("known", [(), (notes(1),)])
def test_a_section_that_this_code_does_not_know_is_refused_rather_than_dropped(known: tuple[Section, ...]) -> None:
    data = encode_pool_state(noted(b"new"), (notes(2),))
    with pytest.raises(StateTooNew, match="'note' in version 2"):
        decode_pool_state(data, known)


def test_a_damaged_section_is_noticed() -> None:
    data = bytearray(encode_pool_state(noted(b"payload"), (notes(),)))
    data[data.index(b"payload")] ^= 1
    with pytest.raises(CorruptState):
        decode_pool_state(bytes(data), (notes(),))


def test_no_two_sections_bear_the_same_name() -> None:
    assert len({section.name for section in SECTIONS}) == len(SECTIONS)


def test_a_format_of_later_code_is_told_from_damage() -> None:
    body = b"BRPOOL99" + encode_pool_state(noted(b""))[8:-16]
    with pytest.raises(StateTooNew, match="BRPOOL99"):
        decode_pool_state(body + blake2b(body, digest_size=16).digest())
