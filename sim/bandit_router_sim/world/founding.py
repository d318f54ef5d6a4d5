"""Random pools, arms, tenants, requests and reports: everything a world may contain, as functions of the dice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bandit_router.core.decision import Decision
from bandit_router.core.money import TokenPrices
from bandit_router.core.outcomes import OutcomeKind
from bandit_router.core.resources import Arm, ExpiryPolicy, HoldPolicy, Pool, Tenant, WindowKind, WindowRule
from bandit_router.service.messages import FeedbackRequest, RouteRequest, Session, Usage
from bandit_router_sim.world.dice import Dice

EMBEDDING_LENGTH = 4
ENCODER_ID = f"vector:{EMBEDDING_LENGTH}"
FREE = TokenPrices(0, 0, 0)
_STARTS_MS = (
    1_769_903_400_000,  # 2026-01-31T23:50Z, the end of a month
    1_774_744_200_000,  # 2026-03-29T00:30Z, before the clocks of Berlin are set forward
    1_792_888_200_000,  # 2026-10-25T00:30Z, before they are set back
    1_793_511_000_000,  # 2026-11-01T05:30Z, before those of New York are
)
_ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
_KINDS = {WindowKind.FIXED: 2.0, WindowKind.HOUR: 3.0, WindowKind.DAY: 2.0, WindowKind.WEEK: 0.5, WindowKind.MONTH: 1.0}
_LEARNERS = ("hierarchical", "linucb:alpha=0.5,level=0.5", "linucb:alpha=0,ridge=0.1", "dlinucb:gamma=0.9")
_DEFAULTS_AFTER_S = (1.0, 20.0, 900.0, 200_000.0)
_TTLS_S = (2.0, 30.0, 600.0, 86_400.0)


def start_ms(dice: Dice) -> int:
    """When a world begins: often shortly before windows end or clocks change."""
    return dice.pick(_STARTS_MS) + dice.below(7_200_000)


def make_pool(dice: Dice, pool_id: str) -> Pool:
    """A pool of callers' vectors; every other one says what a missing reward is."""
    default = dice.pick((None, None, 0.0, 0.5))
    return Pool(
        pool_id=pool_id,
        encoder_id=ENCODER_ID,
        dimension=dice.between(1, EMBEDDING_LENGTH),
        learner=dice.pick(
            ("hierarchical", "linucb:alpha=0.5,level=0.5", "linucb:alpha=0,ridge=0.1", "dlinucb:gamma=0.9")
        ),
        exploration=dice.pick(("igw", "igw:tau=3", "igw:tau=30")),
        seed=dice.between(-(2**40), 2**40),
        features=dice.pick(((), ("urgent",), ("urgent", "depth"))),
        default_reward=default,
        default_reward_deadline_s=0.0 if default is None else dice.pick(_DEFAULTS_AFTER_S),
    )


def make_arm(dice: Dice, arm_id: str) -> Arm:
    """An arm with odd prices, now and then free of charge."""
    prices = TokenPrices(
        input_nusd_per_mtok=dice.spread(10**7, 10**10),
        output_nusd_per_mtok=dice.spread(10**7, 5 * 10**10),
        cached_input_nusd_per_mtok=dice.spread(10**6, 2 * 10**10),
    )
    return Arm(
        arm_id=arm_id,
        prices=FREE if dice.chance(0.1) else prices,
        max_output_tokens=dice.spread(16, 4096),
        enabled=dice.chance(0.95),
    )


def change_arm(dice: Dice, arm: Arm) -> Arm:
    """The arm with another price, switch or limit."""
    fresh = make_arm(dice, arm.arm_id)
    return dice.pick(
        (
            replace(arm, prices=fresh.prices),
            replace(arm, enabled=not arm.enabled),
            replace(arm, draining=not arm.draining),
            replace(arm, max_output_tokens=fresh.max_output_tokens),
        )
    )


def make_tenant(dice: Dice, tenant_id: str, pool_id: str, arms: Sequence[Arm]) -> Tenant:
    """A tenant whose limit pays for a few calls or for many."""
    arm = dice.pick(arms)
    hold_nusd = max(1, arm.prices.cost_nusd(input_tokens=300, output_tokens=arm.max_output_tokens))
    free = [arm.arm_id for arm in arms if arm.prices == FREE]
    return Tenant(
        tenant_id=tenant_id,
        pool_id=pool_id,
        limit_nusd=max(hold_nusd, 10**4) * dice.spread(8, 400) // 10,
        budget_policy="replan" if dice.chance(0.8) else "none",
        window=make_window(dice),
        expected_calls=dice.pick((0, 0, 40, 1000)),
        hold_policy=dice.pick((HoldPolicy.WORST_CASE, HoldPolicy.WORST_CASE, HoldPolicy.QUANTILE, HoldPolicy.EXPECTED)),
        hold_ttl_s=dice.pick(_TTLS_S),
        expiry_policy=dice.pick(tuple(ExpiryPolicy)),
        fallback_arm_id=dice.pick(free) if free and dice.chance(0.7) else "",
        isolated=dice.chance(0.2),
        shadow=dice.chance(0.1),
        session_cap_nusd=hold_nusd * dice.spread(1, 8) if dice.chance(0.3) else 0,
        alert_percents=dice.pick(((), (50, 80, 95), (1, 100))),
    )


def make_window(dice: Dice) -> WindowRule:
    """A window of any kind."""
    kind = dice.weighted(_KINDS)
    last_day = {WindowKind.WEEK: 7, WindowKind.MONTH: 31}.get(kind, 1)
    return WindowRule(kind, dice.pick(_ZONES), dice.between(1, last_day), dice.chance(0.4))


def make_request(dice: Dice, tenant_id: str, pool: Pool, arm_ids: Sequence[str], request_id: str) -> RouteRequest:
    """A request, mostly plain, with any of the hints."""
    allowed = tuple(arm_id for arm_id in arm_ids if dice.chance(0.6)) if dice.chance(0.15) else ()
    last_arm_id = dice.pick(arm_ids) if dice.chance(0.2) else ""
    return RouteRequest(
        tenant_id=tenant_id,
        embedding=tuple(round(2 * dice.uniform() - 1, 6) for _ in range(EMBEDDING_LENGTH)),
        request_id=request_id if dice.chance(0.85) else "",
        prompt_tokens=None if dice.chance(0.1) else dice.spread(1, 3000),
        max_output_tokens=dice.spread(1, 5000) if dice.chance(0.4) else None,
        allowed_arm_ids=allowed,
        max_cost_nusd=dice.spread(10**3, 10**8) if dice.chance(0.1) else None,
        min_expected_reward=dice.uniform() if dice.chance(0.05) else None,
        session=Session(dice.pick(("", "s", "another: s")), last_arm_id, dice.spread(1, 5000) if last_arm_id else 0),
        features={name: round(dice.uniform(), 6) for name in pool.features if dice.chance(0.7)},
    )


def make_feedback(dice: Dice, decision: Decision) -> FeedbackRequest:
    """A report about a decision: any of its parts, first, again, or as a correction."""
    retract = dice.chance(0.06)
    usage = _make_usage(dice, decision) if dice.chance(0.65) else None
    ended = OutcomeKind.UNSPECIFIED
    if dice.chance(0.25):
        ended = dice.pick((OutcomeKind.OK, OutcomeKind.FAILED, OutcomeKind.CANCELLED))
    return FeedbackRequest(
        tenant_id=decision.tenant_id,
        decision_id=decision.decision_id,
        usage=usage,
        reward=None if retract or (usage and dice.chance(0.5)) else dice.pick((0.0, 1.0, round(dice.uniform(), 6))),
        outcome=ended,
        metrics={"score": round(dice.uniform(), 6)} if dice.chance(0.1) else {},
        latency_ms=dice.spread(1, 60_000) if dice.chance(0.2) else None,
        idempotency_key=dice.pick(("a", "b", "c")) if dice.chance(0.25) else "",
        correct=dice.chance(0.25),
        retract=retract,
    )


def spoil(dice: Dice, good: FeedbackRequest) -> FeedbackRequest:
    """A report that must be refused."""
    return dice.pick(
        (
            replace(good, reward=1.5, retract=False),
            replace(good, reward=float("nan"), retract=False),
            replace(good, usage=Usage(output_tokens=-1)),
            replace(good, usage=Usage(input_tokens=1, cached_input_tokens=2)),
            replace(good, usage=Usage(cost_nusd=2**53 + 1)),
            replace(good, metrics={"score": float("inf")}),
            replace(good, decision_id=good.decision_id[:-1] + ("a" if good.decision_id[-1] != "a" else "b")),
            replace(good, decision_id="nonsense"),
        )
    )


def _make_usage(dice: Dice, decision: Decision) -> Usage:
    """Mostly within the hold, sometimes far above it; in tokens, in money, or both."""
    prompt, longest = decision.prompt_tokens, decision.max_output_tokens
    if dice.chance(0.4):
        cost_nusd = dice.below(decision.hold_nusd + 1) if dice.chance(0.8) else decision.hold_nusd + dice.below(10**6)
        return Usage(output_tokens=dice.below(longest + 1) if dice.chance(0.3) else None, cost_nusd=cost_nusd)
    is_over = dice.chance(0.15)
    return Usage(
        input_tokens=prompt * 2 if is_over else prompt,
        output_tokens=dice.below(longest * (3 if is_over else 1) + 1),
        cached_input_tokens=dice.below(prompt + 1) if dice.chance(0.2) else None,
    )
