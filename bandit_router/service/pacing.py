"""The price of money of each tenant, as this replica serves it.

λ is re-solved when a decision finds it due: after as many decisions of the window as its budget policy says (sooner in
its first ones), with a new snapshot or catalog, after a budget edit, in a new window, and at times in a window whose
demand is forecast from the clock. All triggers but the last are counts and versions, not times, and the mark of the
last solution is stored with every hold: a restarted replica goes on with the same λ and re-solves it at the same
decision.

The pace is that of the tenant or that of its organisation, whichever is slower: the organisation's money left over the
calls that all of its tenants have left. A session's cap is no pace: nobody knows how many calls a session still has.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Collection
from dataclasses import dataclass, replace
from statistics import median_low

from bandit_router.core.budget_policies.horizon import calls_left
from bandit_router.core.budget_policies.protocol import (
    BudgetPolicy,
    Holds,
    PriceMark,
    Reservoir,
    Standing,
    pace_of,
)
from bandit_router.core.budget_policies.registry import parse_budget_policy
from bandit_router.core.choice import Query
from bandit_router.core.resources import HoldPolicy, Tenant
from bandit_router.ports.ledger import RECENT_CONTEXTS, BudgetState, Ledger, Level
from bandit_router.service.models import ServedPool
from bandit_router.service.reservoirs import Reservoirs, Sample, build_reservoir

FORECAST_MS = 5_000
MAX_TENANTS = 10_000
"""Tenants whose reservoir is kept in memory; the least recently used is dropped and read back when needed."""


@dataclass(slots=True, eq=False)
class _Pace:
    recent: deque[Sample]
    budget: BudgetState
    mark: PriceMark
    revision: int
    limit_nusd: int
    solved_ms: int


class Pacer:
    """Prices per tenant. `price` is asked before a decision, `observe` told after every hold and settlement."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._paces: OrderedDict[str, _Pace] = OrderedDict()
        self._reservoirs = Reservoirs()

    async def price(
        self,
        tenant: Tenant,
        level: Level,
        served: ServedPool,
        query: Query,
        *,
        above: tuple[Tenant, Level] | None = None,
        now_ms: int,
        rehearse: bool = False,
    ) -> PriceMark:
        """The mark of the price in force for this decision, re-solved if it is due; a rehearsal leaves no trace.

        `above`: the tenant's organisation and its level. Where the price follows a pace, it is read before a solution:
        what this replica has seen of it last is not what one sees that has just been started.
        Raises StoreUnavailable and AccountMissing when state has to be read first.
        """
        policy = parse_budget_policy(tenant.budget_policy)
        if policy.solve_every == 0 or served.model.has_fixed_shares or not served.has_live_arms:
            return PriceMark(0.0, 0, served.model.version)
        pace = self._paces.get(tenant.tenant_id)
        if pace is None or pace.budget.window.name != level.window.name:
            pace = await self._load(tenant, level, pace, revision=served.revision, now_ms=now_ms)
        self._paces.move_to_end(tenant.tenant_id)
        if not _is_due(pace, policy, tenant, served, now_ms=now_ms):
            return pace.mark
        pace_above_usd = math.inf
        if above is not None and policy.follows_pace and not above[1].shadow:
            pace_above_usd = await self._pace_above(*above, now_ms=now_ms)
            if not _is_due(pace, policy, tenant, served, now_ms=now_ms):
                return pace.mark
        standing = self._standing(pace, tenant, served, query, shadow=level.shadow, now_ms=now_ms)
        mark = policy.solve(pace.mark, replace(standing, pace_above_usd=pace_above_usd))
        if not rehearse:
            pace.mark = mark
            pace.revision = served.revision
            pace.limit_nusd = pace.budget.account.limit_nusd
            pace.solved_ms = now_ms
        return mark

    def decided(self, tenant_id: str, sample: Sample) -> None:
        """A decision was recorded: its query joins the reservoir."""
        pace = self._paces.get(tenant_id)
        if pace is not None:
            pace.recent.appendleft(sample)

    def observe(self, tenant_id: str, budget: BudgetState) -> None:
        """The window's account as just seen in the store; one from before the last decision seen is old news."""
        pace = self._paces.get(tenant_id)
        if pace is None or pace.budget.window.name != budget.window.name:
            return
        if budget.account.decisions >= pace.budget.account.decisions:
            pace.budget = budget

    def latest(self, tenant_id: str) -> tuple[PriceMark, BudgetState] | None:
        """The mark last in force and the account as last seen, whatever the window; None before the first."""
        pace = self._paces.get(tenant_id)
        return None if pace is None else (pace.mark, pace.budget)

    def forget(self, tenant_id: str) -> None:
        """Drop a tenant; its state is read afresh if it comes back."""
        self._paces.pop(tenant_id, None)
        self._reservoirs.forget(tenant_id)

    async def _load(self, tenant: Tenant, level: Level, known: _Pace | None, *, revision: int, now_ms: int) -> _Pace:
        budget = await self._ledger.budget(level)
        if known is None:
            packed = await self._ledger.recent_contexts(tenant.tenant_id)
            recent = deque((Sample.unpack(data) for data in packed), maxlen=RECENT_CONTEXTS)
        else:
            recent = known.recent
        mark = budget.price or PriceMark(0.0, 0, -1)
        pace = _Pace(recent, budget, mark, revision, limit_nusd=budget.account.limit_nusd, solved_ms=now_ms)
        self._paces[tenant.tenant_id] = pace
        while len(self._paces) > MAX_TENANTS:
            self._paces.popitem(last=False)
        return pace

    async def _pace_above(self, organisation: Tenant, level: Level, *, now_ms: int) -> float:
        """What the organisation has left, in USD, per call that all of its tenants have left."""
        budget = await self._ledger.budget(level)
        account = budget.account
        committed_nusd = account.spent_nusd + account.in_flight_nusd
        return pace_of(account.limit_nusd, committed_nusd, calls_left=horizon_of(organisation, budget, now_ms=now_ms))

    def _standing(
        self, pace: _Pace, tenant: Tenant, served: ServedPool, query: Query, *, shadow: bool, now_ms: int
    ) -> Standing:
        account, bounds_bills = pace.budget.account, tenant.hold_policy is HoldPolicy.WORST_CASE

        def reservoir() -> Reservoir:
            if not pace.recent:
                return build_reservoir([Sample.of(query)], served)
            return self._reservoirs.of(tenant.tenant_id, pace.recent, served)

        def holds() -> Holds:
            return served.worst_holds(_of_usual_length(query, pace.recent))

        return Standing(
            limit_nusd=account.limit_nusd,
            committed_nusd=account.spent_nusd + account.in_flight_nusd,
            decisions=account.decisions,
            calls_left=horizon_of(tenant, pace.budget, now_ms=now_ms),
            snapshot_version=served.model.version,
            reservoir=reservoir,
            weigh=served.weigher(),
            holds=holds if bounds_bills and not shadow else None,
        )


def _of_usual_length(query: Query, recent: Collection[Sample]) -> Query:
    """The query with the median prompt of the recent ones: one that is long must not price the calls after it."""
    if not recent or query.prompt_tokens <= 0:
        return query
    usual = median_low(sample.prompt_tokens for sample in recent)
    most = math.ceil(query.most_prompt_tokens * usual / query.prompt_tokens)
    return replace(query, prompt_tokens=usual, most_prompt_tokens=most)


def _is_due(pace: _Pace, policy: BudgetPolicy, tenant: Tenant, served: ServedPool, *, now_ms: int) -> bool:
    mark, account = pace.mark, pace.budget.account
    since = account.decisions - mark.decisions
    if mark.snapshot_version != served.model.version or pace.revision != served.revision:
        return True
    if since < 0 or account.limit_nusd != pace.limit_nusd:
        return True
    if since >= min(policy.solve_every, 1 + mark.decisions):
        return True
    is_forecast = tenant.expected_calls == 0 and pace.budget.window.end_ms is not None
    return is_forecast and now_ms - pace.solved_ms >= FORECAST_MS


def horizon_of(tenant: Tenant, budget: BudgetState, *, now_ms: int) -> float:
    """How many further calls the window's money has to last for (`core.budget_policies.horizon`)."""
    window = budget.window
    return calls_left(
        expected_calls=tenant.expected_calls,
        decisions=budget.account.decisions,
        elapsed_ms=now_ms - window.start_ms,
        remaining_ms=None if window.end_ms is None else window.end_ms - now_ms,
    )
