"""Keys of results: the same for runs that must agree, another otherwise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np

from bandit_router_sim.kept.imports import modules_behind, source_of
from bandit_router_sim.replay.setting import Material

_LIBRARIES = ("numpy", "scipy")
"""Whose versions are in every key: all numbers come from them."""

_KEY_CHARACTERS = 32


def key_of(described: Mapping[str, Any]) -> str:
    """The key of a run described in JSON's terms."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:_KEY_CHARACTERS]


def digest_of(material: Material) -> str:
    """A digest of everything a run reads of the material."""
    log = material.log
    digest = hashlib.sha256(json.dumps([log.name, log.arm_ids, log.query_ids, log.prompts]).encode())
    for array in (log.scores, log.costs_usd, log.input_tokens, material.embeddings):
        digest.update(repr(array.shape).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(json.dumps({arm_id: asdict(price) for arm_id, price in material.prices.items()}).encode())
    return digest.hexdigest()


@cache
def code_digest(entries: tuple[str, ...], *, alone: tuple[str, ...] = ()) -> str:
    """A digest of all code that runs behind these modules (`imports.modules_behind`), and the libraries' versions.

    `alone`: modules that count without what they import, because they only call the right one of several entries.
    """
    versions = [metadata.version(name) for name in ("bandit-router", *_LIBRARIES)]
    digest = hashlib.sha256(json.dumps(versions).encode())
    for name in (*modules_behind(entries), *alone):
        source = source_of(name)
        assert source is not None, f"no module {name!r}"
        text = source.read_bytes()
        digest.update(f"{name} {len(text)} ".encode() + text)
    return digest.hexdigest()
