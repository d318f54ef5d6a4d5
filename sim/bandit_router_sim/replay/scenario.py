"""What happens while a log is replayed: changes of prices, quality and arms, who asks what, and when reports arrive.

A scenario plays in the reported stretch. `at` says when: a whole number is a request of that stretch (0: the first), a
fraction is a share of it. Everything is stated relative to the log, so going back is factor 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from bandit_router.core.resources import WindowKind

At = int | float
MAX_FACTOR = 1e6
SUMS_TO_1 = 1e-6
_STRICT = {"extra": "forbid"}


class ScenarioError(ValueError):
    """A scenario that contradicts itself or the log; the message names the key and the rule."""


@dataclass(frozen=True, slots=True)
class PriceChange:
    """The arm's list prices, and every bill recorded for it, become the log's times a factor.

    Either `factor`, or `mean_cost_usd`: what a call then costs on average. (List prices themselves are not in logs.)
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    at: At
    arm_id: str
    factor: float | None = None
    mean_cost_usd: float | None = None
    change: Literal["price"] = "price"


@dataclass(frozen=True, slots=True)
class QualityChange:
    """The arm's rewards silently become the log's times `factor`, or all equal to `level`."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    at: At
    arm_id: str
    factor: float | None = None
    level: float | None = None
    change: Literal["quality"] = "quality"


@dataclass(frozen=True, slots=True)
class ArmChange:
    """The arm joins the pool (it was not in it before), leaves it, or is drained or put back into service.

    `onboarding_usd`: what its owner lets the pool spend on trying an arm that joins.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    at: At
    arm_id: str
    change: Literal["add", "remove", "drain", "undrain"]
    onboarding_usd: float = 0.0


Change = Annotated[PriceChange | QualityChange | ArmChange, Field(discriminator="change")]


@dataclass(frozen=True, slots=True)
class TenantShare:
    """A tenant that makes this share of the requests. Its budget: per request, or a limit per window, or the run's."""

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    tenant_id: str
    share: float
    budget_usd: float | None = None
    limit_usd: float | None = None


SOLE_TENANT = TenantShare("replay", 1.0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything about a replay that is neither policy, budget nor order.

    `traffic`: per phase, patterns of the log's sources whose requests come in it (`bbh/*`); the others come throughout.
    `windows`: budget windows of kind `window` in the reported stretch, equally long; their limits are equal, too, or
    `money_by_window` says what share of every tenant's money each has. `declare_demand`: tenants state their calls per
    window; otherwise these are forecast. Rewards come `reward_delay` requests late and only with
    probability `reward_rate`; bills come `bill_delay` requests late. The pool assumes `default_reward` of answers that
    have no reward `default_reward_after` requests after the decision, in time that passes evenly within a window.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = _STRICT
    name: str = "stationary"
    changes: tuple[Change, ...] = ()
    traffic: tuple[tuple[str, ...], ...] = ()
    tenants: tuple[TenantShare, ...] = (SOLE_TENANT,)
    windows: int = 1
    window: WindowKind = WindowKind.DAY
    carry_over: bool = False
    money_by_window: tuple[float, ...] = ()
    declare_demand: bool = True
    reward_delay: int = 0
    bill_delay: int = 0
    reward_rate: float = 1.0
    default_reward: float | None = None
    default_reward_after: int = 0

    def __post_init__(self) -> None:
        for index, change in enumerate(self.changes):
            _check_change(f"changes[{index}]", change)
        _check_tenants(self.tenants)
        _require(self.windows >= 1, "windows", "must be at least 1")
        _require(self.window is not WindowKind.FIXED, "window", "must be hour, day, week or month")
        _require(not (self.carry_over and self.money_by_window), "money_by_window", "must not be given with carry_over")
        _check_shares("money_by_window", self.money_by_window, count=self.windows)
        _require(self.reward_delay >= 0, "reward_delay", "must not be negative")
        _require(self.bill_delay >= 0, "bill_delay", "must not be negative")
        _require(0.0 <= self.reward_rate <= 1.0, "reward_rate", "must be in 0..1")
        default = self.default_reward
        _require(default is None or 0.0 <= default <= 1.0, "default_reward", "must be in 0..1")
        is_given = "must be at least 1 with default_reward, and is only given with it"
        _require((default is None) == (self.default_reward_after == 0), "default_reward_after", is_given)
        _require(self.default_reward_after >= 0, "default_reward_after", "must not be negative")
        _require(all(self.traffic), "traffic", "every phase needs a pattern of sources")


def check_arms(scenario: Scenario, arm_ids: Sequence[str], *, requests: int) -> None:
    """Raise ScenarioError unless the changes, over so many requests, make sense for these arms."""
    known = ", ".join(arm_ids)
    for index, change in enumerate(scenario.changes):
        _require(change.arm_id in arm_ids, f"changes[{index}].arm_id", f"{change.arm_id!r} is not one of {known}")
        late = f"{change.at} is not before the end of the stretch, which has {requests} requests"
        _require(request_of(change.at, requests) < requests, f"changes[{index}].at", late)
    present = set(initial_arms(scenario, arm_ids, requests=requests))
    _require(present, "changes", "at least one arm must be in the pool from the start")
    for change in in_time(scenario, requests=requests):
        if isinstance(change, ArmChange):
            is_there = change.arm_id in present
            rule = f"cannot {change.change} {change.arm_id!r}, which is {'' if is_there else 'not '}in the pool then"
            _require(is_there != (change.change == "add"), "changes", rule)
            (present.discard if change.change == "remove" else present.add)(change.arm_id)


def initial_arms(scenario: Scenario, arm_ids: Sequence[str], *, requests: int) -> list[str]:
    """The arms in the pool before anything changes: all but those whose first coming or going is an `add`."""
    comings = [change for change in in_time(scenario, requests=requests) if isinstance(change, ArmChange)]
    first = {change.arm_id: change.change for change in reversed(comings)}
    return [arm_id for arm_id in arm_ids if first.get(arm_id) != "add"]


def in_time(scenario: Scenario, *, requests: int) -> list[Change]:
    """The changes in the order in which they happen over so many requests."""
    return sorted(scenario.changes, key=lambda change: request_of(change.at, requests))


def request_of(at: At, requests: int) -> int:
    """The number of the request, of so many, before which `at` falls."""
    return at if isinstance(at, int) else math.floor(at * requests)


def _check_change(place: str, change: Change) -> None:
    _require(change.at >= 0, f"{place}.at", "must not be negative")
    if isinstance(change.at, float):
        _require(change.at < 1.0, f"{place}.at", "a share of the stretch is below 1; a request number is whole")
    if isinstance(change, ArmChange):
        _require(0.0 <= change.onboarding_usd < math.inf, f"{place}.onboarding_usd", "must not be negative")
        is_apt = change.change == "add" or not change.onboarding_usd
        _require(is_apt, f"{place}.onboarding_usd", "is for an arm that joins")
        return
    if isinstance(change, PriceChange):
        given, names = (change.factor, change.mean_cost_usd), "factor and mean_cost_usd"
        most = MAX_FACTOR
    else:
        given, names = (change.factor, change.level), "factor and level"
        most = 1.0
    values = [value for value in given if value is not None]
    _require(len(values) == 1, place, f"must give one of {names}")
    _require(0.0 <= values[0] <= most, place, f"{names} must be in 0..{most:g}")


def _check_tenants(tenants: Sequence[TenantShare]) -> None:
    _require(tenants, "tenants", "must name one or more")
    names = [tenant.tenant_id for tenant in tenants]
    _require(len(set(names)) == len(names), "tenants", "must have different tenant_ids")
    _require(math.isclose(sum(tenant.share for tenant in tenants), 1.0), "tenants", "shares must sum to 1")
    for index, tenant in enumerate(tenants):
        place = f"tenants[{index}]"
        _require(tenant.share > 0.0, f"{place}.share", "must be positive")
        _require(tenant.budget_usd is None or tenant.limit_usd is None, place, "gives budget_usd and limit_usd")
        for money_usd in (tenant.budget_usd, tenant.limit_usd):
            _require(money_usd is None or 0.0 < money_usd < math.inf, place, "budgets and limits must be positive")


def _check_shares(key: str, shares: Sequence[float], *, count: int) -> None:
    if shares:
        _require(len(shares) == count, key, f"must be one for each of the {count} windows")
        _require(all(share > 0.0 for share in shares), key, "must be positive")
        _require(math.isclose(sum(shares), 1.0, rel_tol=SUMS_TO_1), key, "must sum to 1")


def _require(holds: object, key: str, rule: str) -> None:
    if not holds:
        raise ScenarioError(f"{key}: {rule}")


STATIONARY = Scenario()
