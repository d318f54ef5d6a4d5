"""Bytes of a pool's state: a JSON header, the sums as little-endian float64, sections, and a checksum over all.

Layout: magic, header length (4 bytes), header, per arm (in header order) for reward and for tokens the gram's upper
triangle and the moment, the sections (in header order), then the blake2b digest of everything before it. A state
without sections has the magic of the format that knew none.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from bandit_router.core.arm_codec import arm_rows, pack_arms, unpack_arms
from bandit_router.core.pool_sections import SECTIONS, Section
from bandit_router.core.pool_state import PoolState

_PLAIN = b"BRPOOL01"
_SECTIONED = b"BRPOOL02"
_MAGIC_BYTES = 8
_DIGEST_BYTES = 16


class CorruptState(ValueError):
    """Bytes that are not a pool state, or not the ones that were written."""


class StateTooNew(ValueError):
    """The state was written by newer code. The message says what this code does not know."""


def encode_pool_state(state: PoolState, sections: Sequence[Section] = SECTIONS) -> bytes:
    """Bytes from which `decode_pool_state` restores the state exactly."""
    packed = [(section, data) for section in sections if (data := section.pack(state)) is not None]
    fields: dict[str, Any] = {
        "dimension": state.dimension,
        "version": state.version,
        "events": state.events,
        "projection": state.projection_version,
        "positions": state.positions,
        "arms": arm_rows(state.arms),
    }
    if state.generation:
        fields["generation"] = state.generation
    if packed:
        fields["sections"] = [[section.name, section.version, len(data)] for section, data in packed]
    header = json.dumps(fields, separators=(",", ":")).encode()
    magic = _SECTIONED if packed else _PLAIN
    body = b"".join(
        [
            magic,
            struct.pack("<I", len(header)),
            header,
            pack_arms(state.arms, state.dimension),
            *[data for _, data in packed],
        ]
    )
    return body + blake2b(body, digest_size=_DIGEST_BYTES).digest()


def decode_pool_state(data: bytes, sections: Sequence[Section] = SECTIONS) -> PoolState:
    """Inverse of `encode_pool_state`. Raises CorruptState, StateTooNew."""
    header, rest = _parts(data)
    dimension, rows = header["dimension"], header["arms"]
    arms, rest = unpack_arms(rows, rest, dimension)
    positions = {int(partition): entry_id for partition, entry_id in header["positions"].items()}
    state = PoolState(dimension, arms, positions, header["version"], header["events"], header["projection"])
    state.generation = header.get("generation", 0)
    _unpack_sections(state, header.get("sections", ()), rest, sections)
    return state


def _parts(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and what follows it."""
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    magic = body[:_MAGIC_BYTES]
    if blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest or not magic.startswith(_PLAIN[:-2]):
        raise CorruptState("pool state has a wrong magic or checksum")
    if magic not in (_PLAIN, _SECTIONED):
        raise StateTooNew(f"pool state has format {magic.decode()}; this code knows up to {_SECTIONED.decode()}")
    start = _MAGIC_BYTES + 4
    (header_bytes,) = struct.unpack("<I", body[_MAGIC_BYTES:start])
    header: dict[str, Any] = json.loads(body[start : start + header_bytes])
    return header, body[start + header_bytes :]


def _unpack_sections(
    state: PoolState, rows: Sequence[tuple[str, int, int]], rest: bytes, known: Sequence[Section]
) -> None:
    by_name = {section.name: section for section in known}
    for name, version, size in rows:
        section = by_name.get(name)
        if section is None or version > section.version:
            raise StateTooNew(f"pool state has section {name!r} in version {version}, which this code does not know")
        section.unpack(state, version, rest[:size])
        rest = rest[size:]
