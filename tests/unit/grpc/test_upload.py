"""What comes in pieces comes whole or not at all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from hashlib import sha256

import pytest

from bandit_router.adapters.grpc.upload import receive
from bandit_router.client_json import CHUNK_BYTES, prior_parts
from bandit_router.core.errors import DataLoss, InvalidRequest, RouterError
from bandit_router.v1 import admin_pb2 as pb

HEADER = pb.PriorHeader(pool_id="chat", format=pb.PRIOR_FORMAT_FITTED)
DATA = bytes(range(256)) * 2_000
LIMIT = 1_000_000


async def stream(parts: Sequence[pb.ImportPriorRequest]) -> AsyncIterator[pb.ImportPriorRequest]:
    for part in parts:
        yield part


def parts_of(data: bytes = DATA) -> list[pb.ImportPriorRequest]:
    return list(prior_parts(HEADER, data))


@pytest.mark.parametrize("data", [b"", b"x", DATA, bytes(CHUNK_BYTES)])
async def test_what_is_sent_in_pieces_is_received_whole(data: bytes) -> None:
    assert await receive(stream(parts_of(data)), most_bytes=LIMIT) == (HEADER, data)


def damaged(parts: list[pb.ImportPriorRequest]) -> list[pb.ImportPriorRequest]:
    chunk = pb.Chunk()
    chunk.CopyFrom(parts[1].chunk)
    chunk.data = b"!" + chunk.data[1:]
    return [parts[0], pb.ImportPriorRequest(chunk=chunk), *parts[2:]]


def short(parts: list[pb.ImportPriorRequest]) -> list[pb.ImportPriorRequest]:
    trailer = pb.Trailer(size_bytes=len(DATA), sha256=sha256(b"other").digest())
    return [*parts[:-1], pb.ImportPriorRequest(trailer=trailer)]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda parts: parts[1:], InvalidRequest, "must be a header here, got a chunk"),
        (lambda parts: [], InvalidRequest, "ended before its trailer"),
        (lambda parts: parts[:-1], InvalidRequest, "ended before its trailer"),
        (lambda parts: [parts[0], parts[2], *parts[1:]], InvalidRequest, "chunk.offset_bytes: must be 0, got 262144"),
        (lambda parts: [*parts, parts[0]], InvalidRequest, "nothing follows the trailer"),
        (lambda parts: [parts[0], *parts], InvalidRequest, "must be a trailer here, got a header"),
        (damaged, DataLoss, "the chunk at byte 0 is damaged"),
        (short, DataLoss, "or of other bytes"),
    ],
)
async def test_parts_that_are_missing_misplaced_or_damaged_are_refused(
    change: object, error: type[RouterError], message: str
) -> None:
    with pytest.raises(error, match=message):
        await receive(stream(change(parts_of())), most_bytes=LIMIT)  # type: ignore[operator]


async def test_more_than_is_allowed_is_refused_before_it_is_kept() -> None:
    with pytest.raises(InvalidRequest, match="at most 300000 bytes"):
        await receive(stream(parts_of()), most_bytes=300_000)


async def test_the_rules_of_the_protos_hold_for_every_part() -> None:
    bad = pb.ImportPriorRequest(header=pb.PriorHeader(pool_id="no spaces", format=pb.PRIOR_FORMAT_FITTED))
    with pytest.raises(InvalidRequest, match="pool_id"):
        await receive(stream([bad]), most_bytes=LIMIT)
