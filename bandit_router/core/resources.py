"""The resources people configure: pools, arms and tenants. Plain values with defaults that make a working service."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from bandit_router.core.money import TokenPrices

DEFAULT_HOLD_TTL_S = 600.0
DEFAULT_DIMENSION = 32
DEFAULT_LEARNER = "hierarchical"
DEFAULT_MAX_OUTPUT_TOKENS = 4096


class WindowKind(Enum):
    """Budget period of a tenant."""

    FIXED = "fixed"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class HoldPolicy(Enum):
    """How much money is set aside for a decision."""

    WORST_CASE = "worst_case"
    QUANTILE = "quantile"
    EXPECTED = "expected"


class ExpiryPolicy(Enum):
    """What becomes of a hold whose usage never arrives."""

    CHARGE = "charge"
    RELEASE = "release"


class OutagePolicy(Enum):
    """What a tenant's calls are answered while the store is away."""

    FAIL_CLOSED = "fail_closed"
    FAIL_OPEN = "fail_open"


@dataclass(frozen=True, slots=True)
class Arm:
    """A model in a pool. `tier` and `family` choose the prior of an arm that has no history.

    `onboarding_nusd`: money to be spent on trying it, whatever its score; 0: none.
    """

    arm_id: str
    prices: TokenPrices
    max_output_tokens: int = DEFAULT_MAX_OUTPUT_TOKENS
    enabled: bool = True
    draining: bool = False
    tier: str = ""
    family: str = ""
    onboarding_nusd: int = 0

    @property
    def is_live(self) -> bool:
        """Whether it may be chosen at all."""
        return self.enabled and not self.draining


@dataclass(frozen=True, slots=True)
class Pool:
    """A named set of arms with one learner. `dimension` is that of the projected embedding part of the context.

    `generation` is the catalog version at which the pool was made: another pool of the same id has another one.
    """

    pool_id: str
    encoder_id: str = "static"
    dimension: int = DEFAULT_DIMENSION
    learner: str = DEFAULT_LEARNER
    exploration: str = "igw"
    seed: int = 0
    features: tuple[str, ...] = ()
    apprentice_share: float = 0.0
    holdout_share: float = 0.0
    baseline_arm_id: str = ""
    default_reward: float | None = None
    default_reward_deadline_s: float = 0.0
    learning_frozen: bool = False
    generation: int = 0


@dataclass(frozen=True, slots=True)
class WindowRule:
    """How a tenant's budget periods are cut. `start_day`: ISO weekday 1..7 (WEEK) or day of month 1..31 (MONTH)."""

    kind: WindowKind = WindowKind.FIXED
    time_zone: str = "UTC"
    start_day: int = 1
    carry_over: bool = False


@dataclass(frozen=True, slots=True)
class Tenant:
    """A budget account. The limit in force lives in the ledger; `limit_nusd` here is the limit it was created with.

    `parent_tenant_id`: the organisation whose budget must pay as well ('' for none). `session_cap_nusd`: most money of
    one session (0: no cap). `alert_percents`: shares of the limit that are told of when they are reached.
    `generation` is the catalog version at which the tenant was made: another tenant of the same id has another one.
    """

    tenant_id: str
    pool_id: str
    limit_nusd: int
    budget_policy: str = "replan"
    window: WindowRule = field(default_factory=WindowRule)
    expected_calls: int = 0
    hold_policy: HoldPolicy = HoldPolicy.WORST_CASE
    hold_ttl_s: float = DEFAULT_HOLD_TTL_S
    expiry_policy: ExpiryPolicy = ExpiryPolicy.CHARGE
    outage_policy: OutagePolicy = OutagePolicy.FAIL_CLOSED
    outage_allowance_nusd: int = 0
    fallback_arm_id: str = ""
    isolated: bool = False
    shadow: bool = False
    parent_tenant_id: str = ""
    session_cap_nusd: int = 0
    alert_percents: tuple[int, ...] = ()
    generation: int = 0
