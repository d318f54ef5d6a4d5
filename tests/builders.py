"""Values for tests: arms, pools, tenants, decisions and outcomes with sensible defaults, and strategies of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from scipy.special import chdtrc

from bandit_router.core.budget import Charge
from bandit_router.core.choice import Query
from bandit_router.core.decision import Decision, Reason, Round
from bandit_router.core.explorations.registry import Exploration
from bandit_router.core.learners.registry import LEARNERS
from bandit_router.core.money import TokenPrices
from bandit_router.core.outcomes import Bill, Billing, Feedback, Outcome, OutcomeKind
from bandit_router.core.quotes import ArmQuote, Quotes
from bandit_router.core.resources import DEFAULT_LEARNER, Arm, Pool, Tenant

PROPERTY = settings(deadline=None, derandomize=True, max_examples=50)
"""Property tests: the same examples in every run, and no deadline, since a busy machine is no bug."""

THOROUGH = settings(PROPERTY, max_examples=200)
FEW = settings(PROPERTY, max_examples=20)

SMALLEST_P_VALUE = 1e-4
"""Under which a χ² test fails. Draws are derived from names, so a test that passes passes always."""

USD = 1_000_000_000
PRIOR_LEVEL = LEARNERS[DEFAULT_LEARNER].defaults["level"]
"""What a pool with the default learner expects of any query before its first outcome."""


def generator(seed: int) -> np.random.Generator:
    """A seeded source of numbers."""
    return np.random.Generator(np.random.PCG64(seed))


def chi_square_p_value(counts: Sequence[int], probabilities: Sequence[float]) -> float:
    """p-value of counts against the probabilities they are said to come from; cells of probability 0 must be empty."""
    observed, expected = np.asarray(counts, dtype=float), np.asarray(probabilities) * sum(counts)
    assert not observed[expected == 0].any(), "something impossible was drawn"
    live = expected > 0
    expected *= observed.sum() / expected.sum()
    statistic = (np.square(observed[live] - expected[live]) / expected[live]).sum()
    return float(chdtrc(max(1, live.sum() - 1), statistic))


def make_prices(input_usd: float = 1.0, output_usd: float = 2.0, cached_usd: float = 0.1) -> TokenPrices:
    """Prices from USD per million tokens."""
    return TokenPrices(round(input_usd * USD), round(output_usd * USD), round(cached_usd * USD))


def make_arm(arm_id: str = "small", *, prices: TokenPrices | None = None, **fields: Any) -> Arm:
    return Arm(arm_id=arm_id, prices=prices or make_prices(), **fields)


FREE = TokenPrices(0, 0, 0)
SMALL = make_arm("small", prices=make_prices(0.1, 0.4, 0.02), max_output_tokens=1000)
MEDIUM = make_arm("medium", prices=make_prices(1, 4, 0.2), max_output_tokens=1000)
LARGE = make_arm("large", prices=make_prices(10, 40, 2), max_output_tokens=1000)


def make_pool(pool_id: str = "pool", **fields: Any) -> Pool:
    return Pool(pool_id=pool_id, **{"encoder_id": "hash", "dimension": 4, "seed": 7, **fields})


def make_tenant(tenant_id: str = "acme", **fields: Any) -> Tenant:
    return Tenant(tenant_id=tenant_id, **{"pool_id": "pool", "limit_nusd": USD, **fields})


def make_query(context: Sequence[float] = (1.0, 0.0, 0.5, -0.5), **fields: Any) -> Query:
    tokens = fields.pop("prompt_tokens", 100)
    most = fields.pop("most_prompt_tokens", 2 * tokens)
    return Query(np.asarray(context, dtype=np.float64), prompt_tokens=tokens, most_prompt_tokens=most, **fields)


def make_quote(arm_id: str = "small", *, hold_nusd: int = 100, score: float = 0.5, **fields: Any) -> ArmQuote:
    return ArmQuote(
        arm_id=arm_id,
        hold_nusd=hold_nusd,
        score=score,
        **{
            "expected_reward": 0.5,
            "uncertainty": 0.1,
            "expected_output_tokens": 300.0,
            "expected_cost_nusd": 50,
            **fields,
        },
    )


def make_quotes(*quotes: ArmQuote) -> Quotes:
    return Quotes.of(quotes)


def make_decision(context: Sequence[float] = (1.0, 0.5), **fields: Any) -> Decision:
    defaults: dict[str, Any] = {
        "decision_id": "p00-000000000000-aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "request_id": "",
        "tenant_id": "acme",
        "pool_id": "pool",
        "chosen": 0,
        "quotes": (make_quote(),),
        "rounds": (Round((0,), (1.0,)),),
        "context": tuple(np.asarray(context, dtype=np.float32).tolist()),
        "prompt_tokens": 100,
        "cached_tokens": 0,
        "max_output_tokens": 1000,
        "prices": make_prices(),
        "price_per_usd": 0.0,
        "snapshot_version": 0,
        "projection_version": 0,
        "policy_id": "linucb/igw/replan",
        "exploration": Exploration("igw", 1500.0),
        "reason": Reason.POLICY,
        "decided_ms": 0,
        "deadline_ms": 600_000,
        "window_start_ms": 0,
        "charges": (Charge("acme", "fixed:0"),),
    }
    found = {**defaults, **fields}
    return Decision(**{**found, "quotes": Quotes.of(found["quotes"])})


def make_outcome(hold_nusd: int = 100, **fields: Any) -> Outcome:
    return Outcome(hold_nusd=hold_nusd, **{"expected_cost_nusd": 50, "expiry_charges": True, **fields})


amounts = st.integers(0, 10**6)
rewards = st.floats(0, 1, allow_nan=False)
token_counts = st.integers(0, 10**7)
prices = st.builds(TokenPrices, *[st.integers(0, 10**12)] * 3)
bills = st.builds(
    Bill, cost_nusd=amounts, input_tokens=st.none() | token_counts, output_tokens=st.none() | token_counts
)
metric_maps = st.dictionaries(st.sampled_from(["ttft", "score"]), st.floats(-10, 10), max_size=2)
metrics = metric_maps.map(lambda found: tuple(sorted(found.items())))
fresh_outcomes = st.builds(Outcome, hold_nusd=amounts, expected_cost_nusd=amounts, expiry_charges=st.booleans())
outcomes = st.builds(
    Outcome,
    hold_nusd=amounts,
    expected_cost_nusd=amounts,
    expiry_charges=st.booleans(),
    billing=st.sampled_from(Billing),
    bill=st.none() | bills,
    cost_nusd=amounts,
    reward=st.none() | rewards,
    kind=st.sampled_from(OutcomeKind),
    latency_ms=st.none() | st.integers(0, 10**6),
    metrics=metrics,
    idempotency_keys=st.frozensets(st.text(max_size=5), max_size=3),
)
feedbacks = st.builds(
    Feedback,
    bill=st.none() | bills,
    reward=st.none() | rewards,
    kind=st.sampled_from(OutcomeKind),
    correct=st.booleans(),
    retract=st.booleans(),
    latency_ms=st.none() | st.integers(0, 10**6),
    metrics=metrics,
    idempotency_key=st.sampled_from(["", "", "", "a", "b"]),
).filter(lambda feedback: not (feedback.retract and feedback.reward is not None))
