"""The whole state of a service to a file and back, over its JSON client."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bandit_router.client_json import Document, JsonClient
from bandit_router.core.errors import DataLoss

CHUNK_BYTES = 256 * 1024


def export_state(client: JsonClient, file: Path) -> int:
    """Write the state to `file`, which appears when it is whole; its length. Raises RouterError, OSError."""
    part = file.with_name(f"{file.name}.part")
    digest, size = hashlib.sha256(), 0
    with part.open("wb") as out:
        for response in client.stream("ExportState", {}):
            if "chunk" in response:
                data = base64.b64decode(response["chunk"]["data"])
                digest.update(data)
                size += out.write(data)
            elif "trailer" in response:
                if base64.b64decode(response["trailer"]["sha256"]) != digest.digest():
                    raise DataLoss("the checksum of what was received is wrong")
                part.rename(file)
                return size
    raise DataLoss("the stream ended before its trailer")


def import_state(client: JsonClient, file: Path, *, replace: bool, dry_run: bool) -> Document:
    """Send the state in `file`; what was taken in, counted. Raises RouterError, OSError."""
    return client.upload("ImportState", _parts(file, replace=replace, dry_run=dry_run))


def _parts(file: Path, *, replace: bool, dry_run: bool) -> Iterator[dict[str, Any]]:
    digest, size = hashlib.sha256(), 0
    with file.open("rb") as source:
        state = {"schema_version": _schema_version(source.readline())}
        yield {"header": {"state": state, "replace": replace, "dry_run": dry_run}}
        source.seek(0)
        while data := source.read(CHUNK_BYTES):
            sha256 = hashlib.sha256(data).digest()
            yield {"chunk": {"offset_bytes": size, "data": _text(data), "sha256": _text(sha256)}}
            digest.update(data)
            size += len(data)
    yield {"trailer": {"size_bytes": size, "sha256": _text(digest.digest())}}


def _schema_version(first_line: bytes) -> int:
    try:
        return int(json.loads(first_line)["schema_version"])
    except (ValueError, LookupError, TypeError):
        raise DataLoss("the file is no exported state") from None


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
