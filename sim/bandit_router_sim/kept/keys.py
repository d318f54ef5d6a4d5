"""Keys of results: the same for runs that must agree, another otherwise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from typing import Any

import numpy as np

from bandit_router_sim.replay.setting import Material

PRODUCT = ("bandit_router.core", "bandit_router.service", "bandit_router.adapters.memory")
"""Packages of the product that decide what a replay does."""

_KEY_CHARACTERS = 32


def key_of(described: Mapping[str, Any]) -> str:
    """The key of a run described in JSON's terms."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:_KEY_CHARACTERS]


def digest_of(material: Material) -> str:
    """A digest of everything a run reads of the material."""
    log = material.log
    digest = hashlib.sha256(json.dumps([log.name, log.arm_ids, log.query_ids]).encode())
    for text in log.prompts:
        digest.update(text.encode("utf-8", "surrogatepass"))
    for array in (log.scores, log.costs_usd, log.input_tokens, material.embeddings):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(json.dumps({arm_id: asdict(price) for arm_id, price in material.prices.items()}).encode())
    return digest.hexdigest()


@cache
def code_digest(names: tuple[str, ...]) -> str:
    """The package's version and a digest of the sources of these modules and packages."""
    digest = hashlib.sha256(metadata.version("bandit-router").encode())
    for name in names:
        for source in _sources(name):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _sources(name: str) -> list[Traversable]:
    """The file of a module, or the files of a package and of the packages in it."""
    parent, _, leaf = name.rpartition(".")
    module = resources.files(parent) / f"{leaf}.py"
    if module.is_file():
        return [module]
    return _files(resources.files(name))


def _files(folder: Traversable) -> list[Traversable]:
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    files = [entry for entry in entries if entry.is_file() and entry.name.endswith(".py")]
    return files + [file for entry in entries if entry.is_dir() for file in _files(entry)]
