"""The budget policies that a tenant can name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from bandit_router.core.budget_policies.protocol import BudgetPolicy
from bandit_router.core.budget_policies.replan import Replan
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
    "none": BudgetFamily({}, lambda _: Unpriced()),
}
"""Budget policies by name."""

_PARSED = 1_024


@lru_cache(maxsize=_PARSED)
def parse_budget_policy(text: str) -> BudgetPolicy:
    """A budget policy as a tenant names it, such as 'replan'. Raises SpecError."""
    name, parameters = parse_spec(text, {name: family.defaults for name, family in BUDGET_POLICIES.items()})
    return BUDGET_POLICIES[name].make(parameters)
