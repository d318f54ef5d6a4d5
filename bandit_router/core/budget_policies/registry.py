"""The budget policies that a tenant can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from bandit_router.core.budget_policies.primal_dual import make_primal_dual
from bandit_router.core.budget_policies.protocol import BudgetPolicy
from bandit_router.core.budget_policies.replan import Replan
from bandit_router.core.budget_policies.threshold import make_threshold
from bandit_router.core.budget_policies.unpriced import Unpriced
from bandit_router.core.spec import parse_spec


@dataclass(frozen=True, slots=True)
class BudgetFamily:
    """A family of budget policies: the parameters it has, with their defaults, and the policy of given ones.

    `make` raises SpecError for parameters that make no sense.
    """

    defaults: Mapping[str, float]
    make: Callable[[Mapping[str, float]], BudgetPolicy]


BUDGET_POLICIES: Mapping[str, BudgetFamily] = {
    "replan": BudgetFamily({}, lambda _: Replan()),
    "threshold": BudgetFamily({"bin": 50.0}, make_threshold),
    "primal_dual": BudgetFamily({"step": 0.02, "smoothing": 0.05, "mirror": 1.0, "log": 0.0}, make_primal_dual),
    "none": BudgetFamily({}, lambda _: Unpriced()),
}
"""Budget policies by name."""

_PARSED = 1_024


@lru_cache(maxsize=_PARSED)
def parse_budget_policy(text: str) -> BudgetPolicy:
    """A budget policy as a tenant names it, such as 'replan'. Raises SpecError."""
    name, parameters = parse_spec(text, {name: family.defaults for name, family in BUDGET_POLICIES.items()})
    return BUDGET_POLICIES[name].make(parameters)
