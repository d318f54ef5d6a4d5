"""JSON documents of the configured resources, as the catalog keeps them. Unknown keys are ignored on reading, missing
ones take the defaults, so that two versions of the code can share a store."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from enum import Enum
from typing import Any, TypeVar

import numpy as np

from bandit_router.core.money import TokenPrices
from bandit_router.core.projection import Float32Array, Projection
from bandit_router.core.resources import (
    Arm,
    ExpiryPolicy,
    HoldPolicy,
    OutagePolicy,
    Pool,
    Tenant,
    WindowKind,
    WindowRule,
)
from bandit_router.ports.catalog import Document

_R = TypeVar("_R", Pool, Arm, Tenant, TokenPrices, WindowRule)
_Named = TypeVar("_Named", Pool, Arm, Tenant)
_TENANT_ENUMS = {"hold_policy": HoldPolicy, "expiry_policy": ExpiryPolicy, "outage_policy": OutagePolicy}


def encode_resource(resource: Pool | Arm | Tenant) -> bytes:
    """The resource as JSON."""
    return json.dumps(asdict(resource), default=_plain, separators=(",", ":")).encode()


def decode_pool(body: bytes) -> Pool:
    """Inverse of `encode_resource` for a pool."""
    doc = _known(Pool, json.loads(body))
    doc["features"] = tuple(doc.get("features", ()))
    return Pool(**doc)


def decode_arm(body: bytes) -> Arm:
    """Inverse of `encode_resource` for an arm."""
    doc = _known(Arm, json.loads(body))
    doc["prices"] = TokenPrices(**_known(TokenPrices, doc["prices"]))
    return Arm(**doc)


def decode_tenant(body: bytes) -> Tenant:
    """Inverse of `encode_resource` for a tenant."""
    doc = _known(Tenant, json.loads(body))
    doc["alert_percents"] = tuple(doc.get("alert_percents", ()))
    if "window" in doc:
        window = _known(WindowRule, doc["window"])
        doc["window"] = WindowRule(**_with_enums(window, {"kind": WindowKind}))
    return Tenant(**_with_enums(doc, _TENANT_ENUMS))


def with_generation(resource: _Named, document: Document) -> _Named:
    """The resource as made by this document, unless it was made before: a document never replaced has made it."""
    if isinstance(resource, Arm):
        return resource
    return resource if resource.generation else replace(resource, generation=document.version)


def read_pool(document: Document) -> Pool:
    """The pool of a document, with its generation."""
    return with_generation(decode_pool(document.body), document)


def read_tenant(document: Document) -> Tenant:
    """The tenant of a document, with its generation."""
    return with_generation(decode_tenant(document.body), document)


def read_arm(document: Document) -> Arm:
    """The arm of a document."""
    return decode_arm(document.body)


def encode_projection(projection: Projection) -> bytes:
    """A projection as JSON with base64 float32 arrays."""
    doc = {
        "version": projection.version,
        "shape": projection.matrix.shape,
        "matrix": _pack(projection.matrix),
        "mean": _pack(projection.mean),
    }
    return json.dumps(doc, separators=(",", ":")).encode()


def decode_projection(body: bytes) -> Projection:
    """Inverse of `encode_projection`."""
    doc = json.loads(body)
    matrix = _unpack(doc["matrix"]).reshape(doc["shape"])
    return Projection(matrix=matrix, mean=_unpack(doc["mean"]), version=doc["version"])


def arm_key(pool_id: str, arm_id: str) -> str:
    """Catalog key of an arm; ids contain no spaces."""
    return f"{pool_id} {arm_id}"


def split_arm_key(key: str) -> tuple[str, str]:
    """(pool id, arm id) of an arm's catalog key."""
    pool_id, _, arm_id = key.partition(" ")
    return pool_id, arm_id


def _known(kind: type[_R], doc: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(kind)}
    return {name: value for name, value in doc.items() if name in names}


def _with_enums(doc: dict[str, Any], enums: Mapping[str, type[Enum]]) -> dict[str, Any]:
    return {name: enums[name](value) if name in enums else value for name, value in doc.items()}


def _pack(values: Float32Array) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _unpack(text: str) -> Float32Array:
    return np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float32)


def _plain(value: object) -> object:
    assert isinstance(value, Enum)
    return value.value
