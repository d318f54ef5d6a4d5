"""ExportState and ImportState: a header, chunks of the file with their places and digests, and a trailer."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import AsyncIterator

from bandit_router.adapters.grpc.upload import receive_file
from bandit_router.adapters.grpc.wire import timestamp
from bandit_router.core.errors import StateTooNewHere
from bandit_router.core.schema import SCHEMA_VERSION
from bandit_router.service.assembly import Services
from bandit_router.v1 import admin_pb2 as pb

CHUNK_BYTES = 256 * 1024
MAX_STATE_BYTES = 64 * 1024**3
MEMORY_BYTES = 16 * 1024 * 1024
"""An import that is larger waits on disk for its trailer."""


class StateStream:
    """Sends and takes the whole state."""

    def __init__(self, services: Services) -> None:
        self._archives = services.archives
        self._clock = services.clock

    async def export(self, _: pb.ExportStateRequest) -> AsyncIterator[pb.ExportStateResponse]:
        """The state in chunks. Raises NotOffered, Conflict."""
        needed = await self._archives.schema()
        header = pb.StateHeader(schema_version=needed, exported_at=timestamp(self._clock.now_ms()))
        yield pb.ExportStateResponse(header=header)
        digest, sent, waiting = hashlib.sha256(), 0, b""
        async for line in self._archives.export(needed):
            digest.update(line)
            waiting += line
            while len(waiting) >= CHUNK_BYTES:
                yield pb.ExportStateResponse(chunk=_chunk(sent, waiting[:CHUNK_BYTES]))
                sent, waiting = sent + CHUNK_BYTES, waiting[CHUNK_BYTES:]
        yield pb.ExportStateResponse(chunk=_chunk(sent, waiting))
        yield pb.ExportStateResponse(trailer=pb.Trailer(size_bytes=sent + len(waiting), sha256=digest.digest()))

    async def take_in(self, parts: AsyncIterator[pb.ImportStateRequest]) -> pb.ImportStateResponse:
        """Take a state in, once its trailer has come. Raises InvalidRequest, DataLoss, StateTooNewHere and more."""
        with tempfile.SpooledTemporaryFile(MEMORY_BYTES) as file:
            header = await receive_file(parts, file, most_bytes=MAX_STATE_BYTES)
            if header.state.schema_version > SCHEMA_VERSION:
                raise StateTooNewHere(
                    f"the state has schema version {header.state.schema_version}, this code knows {SCHEMA_VERSION}"
                )
            tally = await self._archives.take_in(file, replace=header.replace, dry_run=header.dry_run)
        return pb.ImportStateResponse(
            pools=tally.pools,
            arms=tally.arms,
            tenants=tally.tenants,
            decisions=tally.decisions,
            events=tally.events,
        )


def _chunk(offset_bytes: int, data: bytes) -> pb.Chunk:
    return pb.Chunk(offset_bytes=offset_bytes, data=data, sha256=hashlib.sha256(data).digest())
