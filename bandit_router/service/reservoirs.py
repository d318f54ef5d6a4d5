"""Tenants' recent queries as their pool's policy sees them: what the price of money is solved over.

A price is solved again after some decisions, mostly under the same model: only the queries that are new since then are
predicted, the others' predictions are kept.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from bandit_router.core.budget_policies.protocol import Reservoir
from bandit_router.core.choice import Query
from bandit_router.core.context import Context
from bandit_router.core.regression import FloatArray
from bandit_router.service.models import ServedPool

MAX_KEPT = 500
"""Tenants whose predictions are kept (64 KiB each at eight arms); of the others all queries are predicted anew."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One recent query in the reservoir."""

    context: Context
    prompt_tokens: int

    @classmethod
    def of(cls, query: Query) -> Sample:
        """The sample that a query leaves behind."""
        return cls(context=query.context.astype(np.float32), prompt_tokens=query.prompt_tokens)

    def pack(self) -> bytes:
        """Little-endian float32: the context, then the prompt tokens."""
        return self.context.astype("<f4").tobytes() + struct.pack("<f", self.prompt_tokens)

    @classmethod
    def unpack(cls, data: bytes) -> Sample:
        """Inverse of `pack`."""
        values = np.frombuffer(data, dtype="<f4")
        return cls(context=np.asarray(values[:-1], dtype=np.float32), prompt_tokens=int(values[-1]))


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """Predictions of a tenant's queries by `served`, (4, live arms, n); `newest` is the first of them."""

    served: ServedPool
    newest: Sample
    columns: FloatArray


class Reservoirs:
    """Reservoirs by tenant, with the predictions that the next one can take over."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def of(self, tenant_id: str, samples: Sequence[Sample], served: ServedPool) -> Reservoir:
        """`build_reservoir` of a tenant's samples (at least one), the newest first."""
        kept = self._kept.pop(tenant_id, None)
        fresh = samples
        if kept is not None and kept.served is served:
            newest = kept.newest
            fresh = list(takewhile(lambda sample: sample is not newest, samples))
        if not _fit(fresh, served):
            return build_reservoir(samples, served)
        columns = _predicted(fresh, served) if fresh else np.empty((4, len(served.table.live), 0))
        if kept is not None and len(fresh) < len(samples):
            columns = np.concatenate([columns, kept.columns[:, :, : len(samples) - len(fresh)]], axis=2)
        self._kept[tenant_id] = _Kept(served, samples[0], columns)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return _reservoir(columns)

    def forget(self, tenant_id: str) -> None:
        """Drop what is kept of a tenant."""
        self._kept.pop(tenant_id, None)


def build_reservoir(samples: Sequence[Sample], served: ServedPool) -> Reservoir:
    """The samples as the pool's policy sees them now, over the arms that may be chosen at all.

    Samples of another context length (the pool's features have changed) are left out; with none left the reservoir is
    a single average context.
    """
    dimension = served.model.dimension
    usable = [s for s in samples if len(s.context) == dimension] or [_average_sample(dimension)]
    return _reservoir(_predicted(usable, served))


def _fit(samples: Sequence[Sample], served: ServedPool) -> bool:
    dimension = served.model.dimension
    return all(len(sample.context) == dimension for sample in samples)


def _predicted(samples: Sequence[Sample], served: ServedPool) -> FloatArray:
    """Optimistic rewards, costs in USD, expected rewards and deviations: (4, live arms, samples).

    Arms come before samples, which is how exploration layers like many queries best.
    """
    contexts = np.array([sample.context for sample in samples], dtype=np.float64)
    tokens = np.array([sample.prompt_tokens for sample in samples], dtype=np.float64)
    table = served.table
    predictions = table.model.predict(contexts)
    columns = np.array(
        [
            (predictions.reward + table.model.alpha * predictions.deviation).T,
            table.costs_usd(predictions, tokens).T,
            predictions.reward.T,
            predictions.deviation.T,
        ]
    )
    return columns if len(table.live) == len(table.arms) else columns[:, list(table.live)]


def _reservoir(columns: FloatArray) -> Reservoir:
    rewards, costs_usd, expected_rewards, deviations = columns.swapaxes(1, 2)
    return Reservoir(rewards, costs_usd, expected_rewards, deviations)


def _average_sample(dimension: int) -> Sample:
    context: Context = np.zeros(dimension, dtype=np.float32)
    context[0] = 1.0
    return Sample(context=context, prompt_tokens=100)
