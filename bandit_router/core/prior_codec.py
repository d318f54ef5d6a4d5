"""Bytes of a pool's prior: a JSON header, numbers as little-endian floats, and a checksum over both.

Layout: magic, header length (4 bytes), header, the projection if there is one (matrix, mean; float32), per arm (in
header order) the mean and the precision's upper triangle (float64), then the blake2b digest of everything before it.
"""

from __future__ import annotations

import json
import struct
from hashlib import blake2b
from typing import Any

import numpy as np

from bandit_router.core.pool_prior import PoolPrior
from bandit_router.core.prior import ArmPrior
from bandit_router.core.projection import Projection
from bandit_router.core.regression import FloatArray

MAX_PRIOR_BYTES = 32 * 1024 * 1024
MAX_PRIOR_ARMS = 1024
_MAGIC = b"BRPRIOR1"
_DIGEST_BYTES = 16


class CorruptPrior(ValueError):
    """Bytes that are not a prior, or not the ones that were written; the message says which."""


def encode_prior(prior: PoolPrior) -> bytes:
    """Bytes from which `decode_prior` restores the prior exactly."""
    projection = prior.projection
    header = {
        "encoder": prior.encoder_id,
        "dimension": prior.dimension,
        "features": prior.features,
        "projection": None if projection is None else [*projection.matrix.shape, projection.version],
        "projection_version": prior.projection_version,
        "context": prior.context_length,
        "arms": list(prior.arms),
        "provenance": dict(prior.provenance),
    }
    blocks = [] if projection is None else [_bytes(projection.matrix, "<f4"), _bytes(projection.mean, "<f4")]
    upper = np.triu_indices(prior.context_length)
    blocks += [_bytes(np.concatenate([arm.mean, arm.precision[upper]]), "<f8") for arm in prior.arms.values()]
    text = json.dumps(header, separators=(",", ":")).encode()
    body = b"".join([_MAGIC, struct.pack("<I", len(text)), text, *blocks])
    return body + blake2b(body, digest_size=_DIGEST_BYTES).digest()


def decode_prior(data: bytes) -> PoolPrior:
    """Inverse of `encode_prior`. Raises CorruptPrior."""
    if len(data) > MAX_PRIOR_BYTES:
        raise CorruptPrior(f"a prior has at most {MAX_PRIOR_BYTES} bytes, got {len(data)}")
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if not body.startswith(_MAGIC):
        raise CorruptPrior("these bytes are no prior that `bandit-router prior fit` wrote")
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
    size = header["context"]
    rows = np.frombuffer(body, dtype="<f8", offset=offset).astype(np.float64)
    rows = rows.reshape(len(header["arms"]), size + size * (size + 1) // 2)
    return PoolPrior(
        encoder_id=header["encoder"],
        dimension=header["dimension"],
        features=tuple(header["features"]),
        projection=projection,
        projection_version=header["projection_version"],
        arms={arm_id: _arm(row, size) for arm_id, row in zip(header["arms"], rows, strict=True)},
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


def _arm(row: FloatArray, size: int) -> ArmPrior:
    precision = np.zeros((size, size))
    precision[np.triu_indices(size)] = row[size:]
    return ArmPrior(mean=row[:size].copy(), precision=precision + np.triu(precision, 1).T)


def _bytes(values: FloatArray | np.ndarray[Any, np.dtype[np.float32]], dtype: str) -> bytes:
    return values.astype(dtype).tobytes()
