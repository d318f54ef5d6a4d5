"""Route: encode, score, choose, hold and record.

The only await between choosing and answering is the ledger's atomic hold. If the drawn arm does not fit in what is
free, the arm is drawn again over those that fit; see core.decision for the propensity of the whole procedure.

Where the store does not answer and the tenant fails open, the decision is made without it; see `outages`.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import replace

from bandit_router.core.budget import Account
from bandit_router.core.budget_policies.protocol import PriceMark
from bandit_router.core.budget_policies.registry import parse_budget_policy
from bandit_router.core.choice import candidates, quote_arms, weigh_round
from bandit_router.core.codec import decode_decision, encode_and_remember, encode_outcome
from bandit_router.core.decision import Decision, arms_that_fit, propensities_of
from bandit_router.core.errors import BudgetExhausted, InvalidRequest, NoFeasibleArm, ResourceNotFound, StoreAway
from bandit_router.core.outcomes import Outcome
from bandit_router.core.partition import ENTROPY_BYTES, make_decision_id
from bandit_router.core.resources import ExpiryPolicy, OutagePolicy, Tenant
from bandit_router.core.windows import Window, Windows
from bandit_router.ports.clock import Clock, Entropy
from bandit_router.ports.ledger import (
    AccountMissing,
    AlreadyDecided,
    BudgetState,
    DoesNotFit,
    HoldRequest,
    Ledger,
    Level,
    StoreUnavailable,
    largest_hold,
)
from bandit_router.ports.observer import Observer
from bandit_router.service.contexts import ContextBuilder
from bandit_router.service.directory import Directory
from bandit_router.service.levels import levels_of, own_level, tell_alerts
from bandit_router.service.messages import RouteReply, RouteRequest
from bandit_router.service.models import Models, ServedPool
from bandit_router.service.outages import Outages, within_patience
from bandit_router.service.pacing import Pacer
from bandit_router.service.plan import Plan
from bandit_router.service.reservoirs import Sample
from bandit_router.service.schema_watch import SchemaWatch

KEEP_RECORDS_MS = 7 * 24 * 3_600_000
"""How long a decision's record outlives its deadline: late feedback is taken until then."""

MAX_ROUNDS = 16
"""Draws per decision. Every further one needs money to have been spent by others in between."""


class RouteService:
    """Answers Route for one replica."""

    def __init__(
        self,
        *,
        directory: Directory,
        models: Models,
        contexts: ContextBuilder,
        pacer: Pacer,
        ledger: Ledger,
        clock: Clock,
        entropy: Entropy,
        outages: Outages,
        schema: SchemaWatch,
        observer: Observer,
    ) -> None:
        self._directory = directory
        self._schema = schema
        self._models = models
        self._contexts = contexts
        self._pacer = pacer
        self._ledger = ledger
        self._clock = clock
        self._entropy = entropy
        self._outages = outages
        self._windows = Windows()
        self._observer = observer

    async def route(self, request: RouteRequest) -> RouteReply:
        """Choose an arm, hold its money and record the decision. Raises RouterError; then nothing was held."""
        try:
            return await self._decide_once(request)
        except StoreUnavailable as fault:
            raise StoreAway(str(fault)) from fault
        except AccountMissing as missing:
            raise ResourceNotFound("tenant", str(missing)) from None

    async def _decide_once(self, request: RouteRequest) -> RouteReply:
        try:
            return await self._decide(request)
        except (NoFeasibleArm, ResourceNotFound):
            earlier = await self._earlier(request)
            if earlier is None:
                raise
            return earlier

    async def _decide(self, request: RouteRequest) -> RouteReply:
        earlier = self._outages.earlier(request.tenant_id, request.request_id)
        if earlier is not None and not request.dry_run:
            return self._reply_without_store(earlier)
        plan = await self._plan(request)
        decision = plan.first_draw(_feasible(plan))
        if request.dry_run:
            return await self._rehearse(plan, decision)
        if self._outages.is_away(request.tenant_id):
            return self._stand_in(plan, attempt=None)
        return await self._place(plan, decision)

    async def _earlier(self, request: RouteRequest) -> RouteReply | None:
        """The decision that the request id has from a time when the pool could still answer it."""
        if not request.request_id or request.dry_run:
            return None
        try:
            tenant = await self._directory.tenant(request.tenant_id)
            record = await self._ledger.find(tenant.tenant_id, request.request_id)
            if record is None:
                return None
            decision = decode_decision(record.decision)
            budget = await self._ledger.budget(charged_level(tenant, decision))
        except (AccountMissing, ResourceNotFound):
            return None
        return make_reply(decision, budget, free_nusd=record.free_nusd)

    async def _plan(self, request: RouteRequest) -> Plan:
        _check_input(request)
        tenant = await self._directory.tenant(request.tenant_id)
        served = await self._models.served_to(tenant)
        _check_arms(request, served)
        query, projection_version = await self._contexts.build(served.pool, request)
        now_ms = self._clock.now_ms()
        parent = await self._directory.tenant(tenant.parent_tenant_id) if tenant.parent_tenant_id else None
        session_id = request.session.session_id
        levels = levels_of(tenant, parent, session_id=session_id, now_ms=now_ms, find=self._windows.at)
        above = None if parent is None else (parent, own_level(parent, now_ms, self._windows.at))
        solving = self._pacer.price(
            tenant, levels[0], served, query, above=above, now_ms=now_ms, rehearse=request.dry_run
        )
        fails_open = tenant.outage_policy is OutagePolicy.FAIL_OPEN and not request.dry_run
        mark = await (self._price_or_latest(tenant, served, solving) if fails_open else solving)
        charge = parse_budget_policy(tenant.budget_policy).charge(mark)
        return Plan(
            decision_id=self._new_decision_id(tenant.tenant_id, now_ms),
            request_id=request.request_id,
            tenant=tenant,
            levels=levels,
            served=served,
            query=query,
            projection_version=projection_version,
            sample=Sample.of(query),
            mark=mark,
            quotes=quote_arms(served.table, query, charge=charge, hold_policy=tenant.hold_policy),
            decided_ms=now_ms,
        )

    def _new_decision_id(self, tenant_id: str, now_ms: int) -> str:
        return make_decision_id(tenant_id, now_ms=now_ms, entropy=self._entropy.token_bytes(ENTROPY_BYTES))

    async def _price_or_latest(
        self, tenant: Tenant, served: ServedPool, solving: Coroutine[object, object, PriceMark]
    ) -> PriceMark:
        """The price in force; in an outage the latest one known, or none: then the allowance alone bounds the spend."""
        try:
            return await within_patience(solving)
        except StoreUnavailable:
            self._outages.began(tenant)
            latest = self._pacer.latest(tenant.tenant_id)
            return PriceMark(0.0, 0, served.model.version) if latest is None else latest[0]

    async def _place(self, plan: Plan, decision: Decision) -> RouteReply:
        fails_open = plan.tenant.outage_policy is OutagePolicy.FAIL_OPEN
        for _ in range(MAX_ROUNDS):
            self._schema.check()
            holding = self._ledger.hold(_hold_request(plan, decision))
            try:
                result = await (within_patience(holding) if fails_open else holding)
            except StoreUnavailable:
                if not fails_open:
                    raise
                self._outages.began(plan.tenant)
                return self._stand_in(plan, attempt=decision)
            if isinstance(result, AlreadyDecided):
                earlier = decode_decision(result.record.decision)
                return make_reply(earlier, result.budget, free_nusd=result.record.free_nusd)
            self._pacer.observe(plan.tenant.tenant_id, result.budget)
            tell_alerts(self._observer, result.alerts)
            if not isinstance(result, DoesNotFit):
                self._pacer.decided(plan.tenant.tenant_id, plan.sample)
                return make_reply(decision, result.budget, free_nusd=result.record.free_nusd)
            decision = self._next_draw(plan, decision, free_nusd=result.free_nusd, short=result.short)
        raise StoreAway(
            f"tenant {plan.tenant.tenant_id!r}: its money moved during {MAX_ROUNDS} draws", retry_after_s=0.1
        )

    def _stand_in(self, plan: Plan, *, attempt: Decision | None) -> RouteReply:
        """Decide without the store. Raises StoreAway if the tenant's allowance has no room for any arm."""
        tenant = plan.tenant
        decision = plan.in_outage(
            attempt=attempt,
            free_nusd=self._outages.free_nusd(tenant),
            new_id=self._new_decision_id(tenant.tenant_id, plan.decided_ms),
        )
        if decision is None:
            raise StoreAway(f"the store is away, and tenant {tenant.tenant_id!r} has used up its outage allowance")
        self._outages.enter(decision, _hold_request(plan, decision))
        self._pacer.decided(tenant.tenant_id, plan.sample)
        return self._reply_without_store(decision)

    def _reply_without_store(self, decision: Decision) -> RouteReply:
        """The reply about a decision of an outage, with the budget as this replica saw it last."""
        latest = self._pacer.latest(decision.tenant_id)
        budget = (
            BudgetState(Window.named(decision.charges[0].window), Account(limit_nusd=0))
            if latest is None
            else latest[1]
        )
        return make_reply(decision, budget, free_nusd=budget.account.free_nusd)

    async def _rehearse(self, plan: Plan, decision: Decision) -> RouteReply:
        """The decision that a real call would get now, with nothing held or stored."""
        budgets = [await self._ledger.budget(level) for level in plan.levels]
        free_nusd, short = largest_hold(plan.levels, [budget.account for budget in budgets])
        if short is not None and decision.hold_nusd > free_nusd and not decision.shadow:
            decision = self._next_draw(plan, decision, free_nusd=free_nusd, short=short)
        return make_reply(decision, budgets[0], free_nusd=free_nusd)

    def _next_draw(self, plan: Plan, decision: Decision, *, free_nusd: int, short: int) -> Decision:
        """The arm drawn again over those that fit; `short`: index of the level that has no more."""
        redrawn = plan.redraw(decision, free_nusd=free_nusd) or plan.fallback()
        if redrawn is not None:
            return redrawn
        level = plan.levels[short]
        end_ms = level.window.end_ms
        raise BudgetExhausted(
            level.account_id,
            free_nusd=free_nusd,
            least_hold_nusd=min(plan.quotes[position].hold_nusd for position in candidates(plan.quotes)),
            retry_after_s=None if end_ms is None else (end_ms - plan.decided_ms) / 1000,
            session_id=level.session_id,
        )


def make_reply(decision: Decision, budget: BudgetState, *, free_nusd: int) -> RouteReply:
    """The reply about a decision before whose hold `free_nusd` was free."""
    return RouteReply(decision=decision, propensities=exact_propensities(decision, free_nusd=free_nusd), budget=budget)


def exact_propensities(decision: Decision, *, free_nusd: int) -> dict[str, float]:
    """Probability of every arm that could be chosen, given what was free just before the hold."""
    last = decision.rounds[-1]
    fitting = last.arms if decision.shadow else arms_that_fit(decision, free_nusd=free_nusd)
    if fitting != last.arms:
        key = decision.request_id or decision.decision_id
        last = weigh_round(decision.quotes, fitting, decision.exploration, seed=decision.seed, key=key)
        last = last if decision.baseline is None else decision.baseline.mixed(last)
    return propensities_of(decision, last_round=last)


def charged_level(tenant: Tenant, decision: Decision) -> Level:
    """The tenant's own window that the decision was charged to, also after the tenant's rule has changed."""
    level = own_level(tenant, decision.decided_ms)
    charge = decision.charges[0]
    is_own = charge.window in (level.window.name, str(level.window.start_ms))
    return level if is_own else replace(level, window=Window.named(charge.window), carry_over=False)


def _feasible(plan: Plan) -> tuple[int, ...]:
    feasible = candidates(plan.quotes)
    if not feasible:
        raise NoFeasibleArm({quote.arm_id: quote.excluded_because for quote in plan.quotes})
    return feasible


def _hold_request(plan: Plan, decision: Decision) -> HoldRequest:
    tenant, quote = plan.tenant, decision.quote
    outcome = Outcome(
        hold_nusd=quote.hold_nusd,
        expected_cost_nusd=quote.expected_cost_nusd,
        expiry_charges=tenant.expiry_policy is ExpiryPolicy.CHARGE,
    )
    return HoldRequest(
        tenant_id=tenant.tenant_id,
        decision_id=decision.decision_id,
        request_id=decision.request_id,
        levels=_as_asked(plan, decision),
        hold_nusd=quote.hold_nusd,
        expected_cost_nusd=quote.expected_cost_nusd,
        held_ms=decision.decided_ms,
        deadline_ms=decision.deadline_ms,
        keep_ms=KEEP_RECORDS_MS,
        decision=encode_and_remember(decision),
        outcome=encode_outcome(outcome),
        context=plan.sample.pack(),
        price=plan.mark,
    )


def _as_asked(plan: Plan, decision: Decision) -> tuple[Level, ...]:
    """The levels of the hold: as they are, unless none may refuse it: a fallback at no cost, or made in an outage."""
    if not decision.shadow:
        return plan.levels
    return tuple(replace(level, shadow=True) for level in plan.levels)


def _check_input(request: RouteRequest) -> None:
    if (request.query is None) == (request.embedding is None):
        raise InvalidRequest.of("input", "exactly one of query and embedding must be given")


def _check_arms(request: RouteRequest, served: ServedPool) -> None:
    known = {arm.arm_id for arm in served.arms}
    for arm_id in request.allowed_arm_ids:
        if arm_id not in known:
            raise ResourceNotFound("arm", arm_id)
