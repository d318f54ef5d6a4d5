"""What other limits would bring: the pool's policy over the tenant's reservoir, at the price each limit would have.

The price is the re-solved one, whatever the tenant's budget policy: its steps towards it depend on calls yet to come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bandit_router.core.errors import ResourceNotFound
from bandit_router.core.money import nusd_to_usd
from bandit_router.core.replan import Choices
from bandit_router.ports.clock import Clock
from bandit_router.ports.ledger import AccountMissing, Ledger
from bandit_router.service.directory import Directory
from bandit_router.service.levels import own_level
from bandit_router.service.models import Models, ServedPool
from bandit_router.service.pacing import horizon_of
from bandit_router.service.reservoirs import Sample, build_reservoir


@dataclass(frozen=True, slots=True)
class Preview:
    """One limit over a whole window of `expected_calls`. Reward and cost are means per call."""

    limit_nusd: int
    price_per_usd: float
    expected_reward: float
    expected_cost_usd: float
    expected_calls: int
    arm_shares: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Previews:
    """Previews in the order of the limits; none if the tenant has no history or the pool no arms."""

    previews: tuple[Preview, ...]
    snapshot_version: int
    contexts: int


class PreviewService:
    """Answers what-if questions about budgets; changes nothing."""

    def __init__(self, *, directory: Directory, models: Models, ledger: Ledger, clock: Clock) -> None:
        self._directory = directory
        self._models = models
        self._ledger = ledger
        self._clock = clock

    async def preview(self, tenant_id: str, limits_nusd: Sequence[int]) -> Previews:
        """Each limit with what the present learned state expects of it. Raises ResourceNotFound."""
        tenant = await self._directory.tenant(tenant_id)
        served = await self._models.served_to(tenant)
        now_ms = self._clock.now_ms()
        try:
            budget = await self._ledger.budget(own_level(tenant, now_ms))
        except AccountMissing:
            raise ResourceNotFound("tenant", tenant_id) from None
        samples = [Sample.unpack(data) for data in await self._ledger.recent_contexts(tenant_id)]
        if not samples or not served.has_live_arms:
            return Previews((), served.model.version, 0)
        calls = budget.account.decisions + horizon_of(tenant, budget, now_ms=now_ms)
        previews = tuple(_preview(limit, samples, served, calls=round(calls)) for limit in limits_nusd)
        return Previews(previews, served.model.version, len(samples))


def _preview(limit_nusd: int, samples: Sequence[Sample], served: ServedPool, *, calls: int) -> Preview:
    choices, price = Choices(build_reservoir(samples, served), served.weigher()), 0.0
    if not served.model.has_fixed_shares:
        price = choices.price_at(nusd_to_usd(limit_nusd) / calls)
    shares = choices.shares(price)
    reward, cost_usd = choices.means(shares)
    live = [served.arms[index].arm_id for index in served.table.live]
    return Preview(
        limit_nusd=limit_nusd,
        price_per_usd=price,
        expected_reward=reward,
        expected_cost_usd=cost_usd,
        expected_calls=calls,
        arm_shares=dict(zip(live, shares.mean(axis=0).tolist(), strict=True)),
    )
