"""What comes in pieces: a header, chunks in order, each with its checksum, and a trailer with that of the whole."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import IO, Any, Protocol

from bandit_router.adapters.grpc.validation import check
from bandit_router.core.errors import DataLoss, InvalidRequest


class Part(Protocol):
    """A message with a oneof `part` of `header`, `chunk` and `trailer`."""

    def WhichOneof(self, oneof_group: str) -> str | None:  # noqa: N802 - protobuf's name
        """Which of them it is."""
        ...


async def receive(parts: AsyncIterator[Any], *, most_bytes: int) -> tuple[Any, bytes]:
    """The header and the whole. Raises InvalidRequest for parts out of order or too many bytes, DataLoss for damage."""
    file = io.BytesIO()
    header = await receive_file(parts, file, most_bytes=most_bytes)
    return header, file.getvalue()


async def receive_file(parts: AsyncIterator[Any], file: IO[bytes], *, most_bytes: int) -> Any:
    """The header; the whole is written to `file`, whose content means nothing when this raises as `receive` does."""
    header = await _next(parts, "header")
    digest, size = sha256(), 0
    while (part := await _any(parts)).WhichOneof("part") == "chunk":
        _check_chunk(part.chunk, size, most_bytes=most_bytes)
        digest.update(part.chunk.data)
        size += file.write(part.chunk.data)
    trailer = _expect(part, "trailer")
    if trailer.size_bytes != size or trailer.sha256 != digest.digest():
        raise DataLoss(f"{size} bytes have come; the trailer speaks of {trailer.size_bytes} or of other bytes")
    async for _ in parts:
        raise InvalidRequest.of("part", "nothing follows the trailer")
    return header


def _check_chunk(chunk: Any, size: int, *, most_bytes: int) -> None:
    if chunk.offset_bytes != size:
        raise InvalidRequest.of("chunk.offset_bytes", f"must be {size}, got {chunk.offset_bytes}")
    if size + len(chunk.data) > most_bytes:
        raise InvalidRequest.of("chunk.data", f"at most {most_bytes} bytes are taken")
    if sha256(chunk.data).digest() != chunk.sha256:
        raise DataLoss(f"the chunk at byte {chunk.offset_bytes} is damaged")


async def _next(parts: AsyncIterator[Any], kind: str) -> Any:
    return _expect(await _any(parts), kind)


async def _any(parts: AsyncIterator[Any]) -> Any:
    async for part in parts:
        check(part)
        return part
    raise InvalidRequest.of("part", "the stream ended before its trailer")


def _expect(part: Part, kind: str) -> Any:
    found = part.WhichOneof("part")
    if found != kind:
        raise InvalidRequest.of("part", f"must be a {kind} here, got a {found}")
    return getattr(part, kind)
