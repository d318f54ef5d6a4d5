"""Which schema version what is stored needs: the least whose code reads it as it is meant.

New code writes what older code reads, until a setting is used that older code refuses or ignores. A resource with such
a setting needs the newer version, and whatever follows from it (decisions, outcomes, windows, what is learned) is
stored only after it. What belongs to which version, and why, is in docs/decisions/0056 and 0059.

    1  pools, arms, tenants with budgets and windows of their own
    2  rewards assumed by default, shares of a baseline arm, money to try an arm with, priors; isolated tenants,
       tenants that fail open, organisations, session caps, alerts, months from the 29th on, windows that go on under
       another rule
    3  priors with relative parts (docs/decisions/0059)

`SCHEMA_VERSION` is raised whenever older code could misread what newer code wrote.
"""

from __future__ import annotations

from bandit_router.core.pool_prior import PoolPrior
from bandit_router.core.resources import Arm, OutagePolicy, Pool, Tenant, WindowKind

FIRST_SCHEMA = 1
SCHEMA_VERSION = 3

LAST_DAY_OF_FIRST = 28
"""The last day of a month that windows could start on in the first schema."""


def schema_needed(resource: Pool | Arm | Tenant, before: Pool | Arm | Tenant | None = None) -> int:
    """The version that a store with this resource needs; `before`: what it takes the place of, if anything."""
    if isinstance(resource, Pool):
        is_second = _has_second_pool(resource)
    elif isinstance(resource, Arm):
        is_second = resource.onboarding_nusd != 0
    else:
        is_second = _has_second_tenant(resource) or (isinstance(before, Tenant) and before.window != resource.window)
    return 2 if is_second else FIRST_SCHEMA


def prior_schema_needed(prior: PoolPrior) -> int:
    """The version that a store with this imported prior needs."""
    return 2 if prior.shared is None else 3


def _has_second_pool(pool: Pool) -> bool:
    return pool.default_reward is not None or pool.holdout_share + pool.apprentice_share > 0.0


def _has_second_tenant(tenant: Tenant) -> bool:
    window = tenant.window
    starts_late = window.kind is WindowKind.MONTH and window.start_day > LAST_DAY_OF_FIRST
    fails_open = tenant.outage_policy is OutagePolicy.FAIL_OPEN
    nests = bool(tenant.parent_tenant_id or tenant.session_cap_nusd)
    return starts_late or fails_open or nests or tenant.isolated or bool(tenant.alert_percents)
