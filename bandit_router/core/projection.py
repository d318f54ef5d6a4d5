"""From an encoder's embedding to the few numbers a learner keeps statistics on.

A learner of dimension d stores a d x d matrix per arm and needs of the order of d rewards per arm before its
estimates mean much, so embeddings are brought down to d <= 64 first:

    context = (embedding - mean) @ matrix

Convention of scale: every projection made here aims at a mean squared norm of 1 over its traffic, so that one
ridge and one exploration width fit any encoder and any d. A row of zeros (an encoder's word for "nothing is known
of this text") stays a row of zeros, so that the learner's bias alone speaks for it.

Three ways to get one. `identity_projection` keeps the leading coordinates, for embeddings already ordered by
variance such as the static table's. `cosine_projection` is for an encoder of which nothing is known yet: rows of
the orthonormal DCT-II, which spread every input coordinate evenly, as a random rotation would without a seed.
`fit_projection` is principal component analysis of seen embeddings (Jolliffe 2002, ch. 2).

Contexts of two projections are not comparable: whoever changes the projection of a pool also starts its learner
again or re-projects what it stored. `version` tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

MAX_INPUT_DIMENSION = 8192
MAX_ABS_VALUE = 1e6
MIN_FIT_SAMPLES = 2
_MIN_DEVIATION = 1e-6
_MIN_DEVIATION_RATIO = 1e-4


class InvalidEmbedding(ValueError):
    """Embeddings of the wrong shape, or with values that are not finite or too large; the message says which."""


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """An affine map from embeddings to contexts. Arrays are float32, finite and read-only.

    matrix: (dim_in, dim_out) with 1 <= dim_out <= dim_in. mean: (dim_in,). version: >= 0, larger is newer.
    """

    matrix: Float32Array
    mean: Float32Array
    version: int

    def __post_init__(self) -> None:
        for name in ("matrix", "mean"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        _check_shapes(self.matrix, self.mean)
        if not (np.isfinite(self.matrix).all() and np.isfinite(self.mean).all()):
            raise ValueError("projection: matrix and mean must be finite")
        if self.version < 0:
            raise ValueError(f"projection: version must be at least 0, got {self.version}")

    @property
    def dim_in(self) -> int:
        """Length of the embeddings it takes."""
        return int(self.matrix.shape[0])

    @property
    def dim_out(self) -> int:
        """Length of the contexts it makes."""
        return int(self.matrix.shape[1])

    def apply(self, embeddings: npt.ArrayLike) -> Float32Array:
        """Return the contexts (n, dim_out) of embeddings (n, dim_in); a row of zeros stays one.

        Raises `InvalidEmbedding`.
        """
        return self.of_checked(checked_embeddings(embeddings, dimension=self.dim_in))

    def of_checked(self, rows: Float32Array) -> Float32Array:
        """`apply` to what `checked_embeddings` has given for this dimension."""
        known = rows.any(axis=1, keepdims=True)
        contexts = np.where(known, rows - self.mean, np.float32(0)) @ self.matrix
        return np.asarray(contexts, dtype=np.float32)


def checked_embeddings(embeddings: npt.ArrayLike, *, dimension: int) -> Float32Array:
    """Return `embeddings` as a float32 array (n, dimension). Raises `InvalidEmbedding`.

    Every value must be finite and of size at most `MAX_ABS_VALUE`.
    """
    try:
        with np.errstate(over="ignore"):
            rows = np.asarray(embeddings, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidEmbedding("embedding: must be rows of numbers, all of one length") from error
    if rows.ndim != 2 or rows.shape[1] != dimension:
        raise InvalidEmbedding(f"embedding: must have shape (n, {dimension}), got {rows.shape}")
    if not (np.abs(rows) <= MAX_ABS_VALUE).all():  # written so that NaN fails, too
        raise InvalidEmbedding(f"embedding: every value must be finite and within +-{MAX_ABS_VALUE:g}")
    return rows


def identity_projection(dim_in: int, dim_out: int) -> Projection:
    """Keep the first `dim_out` coordinates as they are (version 0).

    Unit embeddings ordered by variance keep a mean squared norm of at most 1. Raises ValueError.
    """
    _check_dimensions(dim_in, dim_out)
    return Projection(matrix=np.eye(dim_in, dim_out, dtype=np.float32), mean=_zeros(dim_in), version=0)


def cosine_projection(dim_in: int, dim_out: int) -> Projection:
    """Project on the first `dim_out` non-constant rows of the orthonormal DCT-II (version 0).

    Scaled by sqrt(dim_in / dim_out): for unit embeddings in no special position the mean squared norm is 1.
    Raises ValueError.
    """
    _check_dimensions(dim_in, dim_out)
    position = np.arange(dim_in)[:, None] + 0.5
    frequency = np.arange(1, dim_out + 1)[None, :] % dim_in
    basis = np.cos(np.pi * position * frequency / dim_in)
    basis /= np.linalg.norm(basis, axis=0)
    return Projection(matrix=_float32(basis * np.sqrt(dim_in / dim_out)), mean=_zeros(dim_in), version=0)


def fit_projection(samples: npt.ArrayLike, dimension: int, *, version: int = 1, whiten: bool = False) -> Projection:
    """Return the projection on the leading principal components of `samples` (n, dim_in).

    The mean squared norm of the projected samples is 1 (0 if they are all alike). With `whiten` every
    component has variance 1 / dimension; without it components keep their ratios. Components beyond the rank of
    the samples are zero columns. Signs are fixed by making each component's largest entry positive.
    Rows of zeros are left out. Raises `InvalidEmbedding` or ValueError.
    """
    rows = _fit_rows(samples, dimension)
    mean = rows.mean(axis=0)
    _, singular, components = np.linalg.svd(rows - mean, full_matrices=False)
    deviation = np.zeros(dimension)
    basis = np.zeros((rows.shape[1], dimension))
    kept = min(dimension, len(singular))
    deviation[:kept] = singular[:kept] / np.sqrt(len(rows))
    basis[:, :kept] = _with_fixed_signs(components[:kept].T)
    matrix = basis * _component_scales(deviation, whiten=whiten)
    return Projection(matrix=_float32(matrix), mean=_float32(mean), version=version)


def _fit_rows(samples: npt.ArrayLike, dimension: int) -> npt.NDArray[np.float64]:
    raw = np.asarray(samples)
    if raw.ndim != 2:
        raise InvalidEmbedding(f"samples: must have shape (n, dim_in), got {raw.shape}")
    _check_dimensions(raw.shape[1], dimension)
    rows = checked_embeddings(raw, dimension=raw.shape[1])
    rows = rows[rows.any(axis=1)]
    if len(rows) < MIN_FIT_SAMPLES:
        raise ValueError(f"samples: at least {MIN_FIT_SAMPLES} rows that are not zero are needed, got {len(rows)}")
    return rows.astype(np.float64)


def _component_scales(deviation: npt.NDArray[np.float64], *, whiten: bool) -> npt.NDArray[np.float64]:
    """Factors per component that bring the mean squared norm to 1 and leave components of no variance at 0."""
    present = deviation > max(_MIN_DEVIATION, _MIN_DEVIATION_RATIO * deviation[0])
    if not present.any():
        return np.zeros_like(deviation)
    if whiten:
        scales = 1.0 / (np.where(present, deviation, 1.0) * np.sqrt(present.sum()))
    else:
        scales = np.full_like(deviation, 1.0 / np.sqrt(np.sum(deviation[present] ** 2)))
    return np.where(present, scales, 0.0)


def _with_fixed_signs(components: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    largest = np.argmax(np.abs(components), axis=0)
    signs = np.sign(components[largest, np.arange(components.shape[1])])
    return np.asarray(components * np.where(signs == 0, 1.0, signs))


def _check_dimensions(dim_in: int, dim_out: int) -> None:
    if not 1 <= dim_in <= MAX_INPUT_DIMENSION:
        raise ValueError(f"projection: input dimension must be in 1..{MAX_INPUT_DIMENSION}, got {dim_in}")
    if not 1 <= dim_out <= dim_in:
        raise ValueError(f"projection: output dimension must be in 1..{dim_in}, got {dim_out}")


def _check_shapes(matrix: Float32Array, mean: Float32Array) -> None:
    if matrix.ndim != 2:
        raise ValueError(f"projection: matrix must have two axes, got shape {matrix.shape}")
    _check_dimensions(*matrix.shape)
    if mean.shape != (matrix.shape[0],):
        raise ValueError(f"projection: mean must have shape ({matrix.shape[0]},), got {mean.shape}")


def _frozen(array: npt.ArrayLike) -> Float32Array:
    copy = np.array(array, dtype=np.float32)
    copy.setflags(write=False)
    return copy


def _float32(array: npt.NDArray[np.float64]) -> Float32Array:
    return np.asarray(array, dtype=np.float32)


def _zeros(length: int) -> Float32Array:
    return np.zeros(length, dtype=np.float32)
