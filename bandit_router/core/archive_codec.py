"""The file of an exported state: a line of JSON per record between a first line and a last one.

    {"format":"bandit-router-state","version":1,"schema_version":1,"exported_ms":1767225600000}
    ["key","hash",[["name","value"],…],null]
    {"records":1,"sha256":"<hex digest of all lines before>"}

Bytes are texts with a letter before them: `t` and the text where they are UTF-8, else `b` and base64.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

FORMAT = "bandit-router-state"
FORMAT_VERSION = 1


class CorruptArchive(ValueError):
    """Bytes that are not an exported state, or not the ones that were written."""


class ArchiveTooNew(ValueError):
    """The file was written by newer code. The message says which version it needs."""


@dataclass(slots=True)
class ArchiveWriter:
    """Makes lines; the last one depends on all others."""

    schema_version: int
    exported_ms: int
    records: int = 0
    _digest: Any = field(default_factory=hashlib.sha256)

    def first(self) -> bytes:
        """The line that says what follows."""
        names = {"format": FORMAT, "version": FORMAT_VERSION, "schema_version": self.schema_version}
        return self._line({**names, "exported_ms": self.exported_ms})

    def record(self, row: Any) -> bytes:
        """One record: nested lists of bytes, numbers and None."""
        self.records += 1
        return self._line(_plain(row))

    def last(self) -> bytes:
        """The line that seals the others."""
        return _dump({"records": self.records, "sha256": self._digest.hexdigest()})

    def _line(self, document: Any) -> bytes:
        line = _dump(document)
        self._digest.update(line)
        return line


@dataclass(slots=True)
class ArchiveReader:
    """Reads lines one by one and keeps count; `is_complete` once the last one has been seen and agrees."""

    schema_version: int
    """The newest that this code knows."""

    needed: int = 0
    """What the file needs, once its first line has been read."""

    is_complete: bool = False
    records: int = 0
    _has_begun: bool = False
    _digest: Any = field(default_factory=hashlib.sha256)

    def read(self, line: bytes) -> Any | None:
        """The record of this line, or None for the first and the last. Raises CorruptArchive, ArchiveTooNew."""
        if self.is_complete:
            raise CorruptArchive("the file goes on behind its last line")
        document = _parsed(line)
        if not self._has_begun:
            self._begin(document)
        elif isinstance(document, dict):
            self._end(document)
            return None
        self._digest.update(line)
        if isinstance(document, dict):
            return None
        self.records += 1
        return _bytes_of(document)

    def _begin(self, document: Any) -> None:
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise CorruptArchive("the file is no exported state")
        self._has_begun = True
        for name, known in (("version", FORMAT_VERSION), ("schema_version", self.schema_version)):
            if document.get(name, 0) > known:
                raise ArchiveTooNew(f"the file has {name} {document[name]}; this code knows up to {known}")
        self.needed = document.get("schema_version", 0)

    def _end(self, document: dict[str, Any]) -> None:
        if document != {"records": self.records, "sha256": self._digest.hexdigest()}:
            raise CorruptArchive("the file's checksum or count is not that of its records")
        self.is_complete = True


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError as fault:
        raise CorruptArchive(f"a line is no JSON: {fault}") from None


def _dump(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _plain(value: Any) -> Any:
    return _mapped(value, bytes, _text_of)


def _bytes_of(value: Any) -> Any:
    try:
        return _mapped(value, str, _bytes_in)
    except (ValueError, IndexError, KeyError) as fault:
        raise CorruptArchive(f"a record's bytes cannot be read: {fault}") from None


def _mapped(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, list | tuple):
        return [_mapped(item, kind, change) for item in value]
    return change(value) if isinstance(value, kind) else value


def _text_of(data: bytes) -> str:
    try:
        return f"t{data.decode()}"
    except UnicodeDecodeError:
        return f"b{base64.b64encode(data).decode()}"


def _bytes_in(text: str) -> bytes:
    return {"t": str.encode, "b": lambda rest: base64.b64decode(rest, validate=True)}[text[0]](text[1:])
