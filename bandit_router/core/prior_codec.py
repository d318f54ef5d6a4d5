"""Bytes of a pool's prior: a JSON header, numbers as little-endian floats, and a checksum over both.

Layout: magic, header length (4 bytes), header, the projection if there is one (matrix, mean; float32), per arm (in
header order) the mean and the precision's upper triangle (float64), then the blake2b digest of everything before it.

A prior with relative parts (`core.prior`) has another magic and names these arms in the header's `relative`; after the
arms follow the upper triangle of the covariance they share, and per arm so named, in that order, the mean and the own
precision's upper triangle. A prior without any is written as ever.
"""

from __future__ import annotations

import json
import struct
from hashlib import blake2b
from typing import Any

import numpy as np

from bandit_router.core.pool_prior import PoolPrior
from bandit_router.core.prior import ArmPrior, Relative
from bandit_router.core.projection import Projection
from bandit_router.core.regression import FloatArray

MAX_PRIOR_BYTES = 32 * 1024 * 1024
MAX_PRIOR_ARMS = 1024
_FAMILY = b"BRPRIOR"
_MAGIC = _FAMILY + b"1"
_MAGIC_RELATIVE = _FAMILY + b"2"
_DIGEST_BYTES = 16


class CorruptPrior(ValueError):
    """Bytes that are not a prior, or not the ones that were written; the message says which."""


def encode_prior(prior: PoolPrior) -> bytes:
    """Bytes from which `decode_prior` restores the prior exactly."""
    projection, shared = prior.projection, prior.shared
    relative = {arm_id: arm.relative for arm_id, arm in prior.arms.items() if arm.relative is not None}
    header = {
        "encoder": prior.encoder_id,
        "dimension": prior.dimension,
        "features": prior.features,
        "projection": None if projection is None else [*projection.matrix.shape, projection.version],
        "projection_version": prior.projection_version,
        "context": prior.context_length,
        "arms": list(prior.arms),
        "provenance": dict(prior.provenance),
        **({"relative": list(relative)} if relative else {}),
    }
    blocks = [] if projection is None else [_bytes(projection.matrix, "<f4"), _bytes(projection.mean, "<f4")]
    upper = np.triu_indices(prior.context_length)
    blocks += [_bytes(np.concatenate([arm.mean, arm.precision[upper]]), "<f8") for arm in prior.arms.values()]
    if shared is not None:
        blocks.append(_bytes(shared[upper], "<f8"))
    blocks += [_bytes(np.concatenate([part.mean, part.precision[upper]]), "<f8") for part in relative.values()]
    text = json.dumps(header, separators=(",", ":")).encode()
    body = b"".join([_MAGIC_RELATIVE if relative else _MAGIC, struct.pack("<I", len(text)), text, *blocks])
    return body + blake2b(body, digest_size=_DIGEST_BYTES).digest()


def decode_prior(data: bytes) -> PoolPrior:
    """Inverse of `encode_prior`. Raises CorruptPrior."""
    if len(data) > MAX_PRIOR_BYTES:
        raise CorruptPrior(f"a prior has at most {MAX_PRIOR_BYTES} bytes, got {len(data)}")
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if not body.startswith(_FAMILY):
        raise CorruptPrior("these bytes are no prior that `bandit-router prior fit` wrote")
    if not body.startswith((_MAGIC, _MAGIC_RELATIVE)):
        raise CorruptPrior("the format is one that this code does not know: newer code wrote it")
    if blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest:
        raise CorruptPrior("the checksum does not match: the file is damaged or cut off")
    try:
        return _decode_body(body)
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise CorruptPrior(f"the content makes no sense: {error}") from error


def _decode_body(body: bytes) -> PoolPrior:
    start = len(_MAGIC) + 4
    (length,) = struct.unpack("<I", body[len(_MAGIC) : start])
    header: dict[str, Any] = json.loads(body[start : start + length])
    if len(header["arms"]) > MAX_PRIOR_ARMS:
        raise ValueError(f"a prior has at most {MAX_PRIOR_ARMS} arms, got {len(header['arms'])}")
    projection, offset = _projection(header["projection"], body, start + length)
    relative = header["relative"] if body.startswith(_MAGIC_RELATIVE) else []
    arms = _arms(header["arms"], relative, header["context"], np.frombuffer(body, dtype="<f8", offset=offset))
    return PoolPrior(
        encoder_id=header["encoder"],
        dimension=header["dimension"],
        features=tuple(header["features"]),
        projection=projection,
        projection_version=header["projection_version"],
        arms=arms,
        provenance=header["provenance"],
    )


def _projection(shape: list[int] | None, body: bytes, offset: int) -> tuple[Projection | None, int]:
    if shape is None:
        return None, offset
    dim_in, dim_out, version = shape
    count = dim_in * dim_out + dim_in
    numbers = np.frombuffer(body, dtype="<f4", offset=offset, count=count).astype(np.float32)
    matrix, mean = numbers[: dim_in * dim_out].reshape(dim_in, dim_out), numbers[dim_in * dim_out :]
    return Projection(matrix=matrix, mean=mean, version=version), offset + 4 * count


def _arms(arm_ids: list[str], relative: list[str], size: int, numbers: FloatArray) -> dict[str, ArmPrior]:
    """Arms from the numbers that follow the projection."""
    if strangers := set(relative) - set(arm_ids):
        raise ValueError(f"relative parts of arms that have no prior: {', '.join(sorted(strangers))}")
    triangle = size * (size + 1) // 2
    wanted = (len(arm_ids) + len(relative)) * (size + triangle) + (triangle if relative else 0)
    if len(numbers) != wanted:
        raise ValueError(f"{len(numbers)} numbers where arms and relative parts have {wanted}")
    whole, rest = np.split(numbers.astype(np.float64), [len(arm_ids) * (size + triangle)])
    parts: dict[str, Relative] = {}
    if relative:
        shared = _matrix(rest[:triangle], size)
        rows = rest[triangle:].reshape(len(relative), -1)
        for arm_id, row in zip(relative, rows, strict=True):
            parts[arm_id] = Relative(row[:size].copy(), _matrix(row[size:], size), shared)
    rows = whole.reshape(len(arm_ids), size + triangle)
    return {
        arm_id: ArmPrior(row[:size].copy(), _matrix(row[size:], size), parts.get(arm_id))
        for arm_id, row in zip(arm_ids, rows, strict=True)
    }


def _matrix(upper: FloatArray, size: int) -> FloatArray:
    """The symmetric matrix (d, d) of an upper triangle."""
    matrix = np.zeros((size, size))
    matrix[np.triu_indices(size)] = upper
    return np.asarray(matrix + np.triu(matrix, 1).T)


def _bytes(values: FloatArray | np.ndarray[Any, np.dtype[np.float32]], dtype: str) -> bytes:
    return values.astype(dtype).tobytes()
