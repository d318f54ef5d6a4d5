"""A pool as one of its tenants is served from it: its own outcomes in full, everyone else's with a bounded say.

Tenants rate differently. In one pool, tenant t's rewards of arm a are modelled as

    y = θ_a·x + o_ta + ε        o_ta ~ N(0, σ²/κ)        σ²: variance of the noise ε

where θ_a is what the tenants have in common, and the pool's learner says what it expects of θ_ta = θ_a + o_ta e (e: the
intercept), by which tenant t is served. Integrating a level of precision κ out of sums (augmented by the rewards:
S = Σzzᵀ with z = (x, y), x₀ = 1) leaves

    loosened(S, κ) = S − S e eᵀ S / (eᵀSe + κ)

in which the level counts as at most κ outcomes, however many there were. The exact posterior of θ_ta is that of the
learner on the sums

    S_t + loosened( Σ_{u≠t} loosened(w_u S_u, κ), κ )        w_u = min(1, M / n_u)

The inner ones free the levels of the others from each other, the outer one frees the tenant's from what they agree on
(a linear mixed model: Laird and Ware, 1982). So a tenant starts from what the others say, and its level is its own
after some κ outcomes.

M bounds the say of each other tenant (a power prior: Ibrahim and Chen, 2000), whatever it sends. Adding outcomes
(x_i, y_i) of total weight M to a Gaussian posterior whose prediction at x has the deviation s(x), in units of the
noise, moves that prediction by at most

    |Δ(x)| ≤ ½ √M s(x) R        R = max |y_i − prediction at x_i|

In coordinates in which the old covariance is the identity, ξ stands for x (‖ξ‖ = s(x)) and the added, weighted contexts
are the columns of B, Δ = ξᵀ(I + BBᵀ)⁻¹ B √w r; and no singular value of (I + BBᵀ)⁻¹ B is above ½. It is attained by
outcomes at x alone that weigh s(x)⁻². As s(x) falls with the outcomes of all others and, unbounded by M, with those of
the tenant itself, so does what any other can do. If K arms are attacked at once, M is K times as large for each.
The bound is about posteriors under the learner's plain prior; what a learner does on top (following latest rewards,
weighing an imported prior) it does by the same sums, the latest rewards being the tenant's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bandit_router.core.arm_state import Arms, ArmState
from bandit_router.core.discounted import KEEPS_NOTHING, ArmDiscounted, Discounted
from bandit_router.core.pool_state import PoolState
from bandit_router.core.recent import Recency
from bandit_router.core.regression import FloatArray, RegressionSums
from bandit_router.core.seats import UNTOLD, Book
from bandit_router.core.spec import SpecError

_NO_WEIGHT = 1e-12
"""Less than this is none: what rounding leaves of sums of which everything has been taken back."""


@dataclass(frozen=True, slots=True)
class Tenancy:
    """`voice`: M, as how many outcomes per arm another tenant's count at most. `taste`: κ, how alike levels are."""

    voice: float = 200.0
    taste: float = 20.0


def check_tenancy(tenancy: Tenancy) -> None:
    """Raise SpecError for bounds that are none."""
    for name, value in (("voice", tenancy.voice), ("taste", tenancy.taste)):
        if value <= 0.0:
            raise SpecError(f"{name} must be positive, got {value:g}")


def seen_by(state: PoolState, tenant_id: str, tenancy: Tenancy) -> PoolState:
    """The state that a tenant is served from, to be read only; `state` itself where nobody else has taught the pool.

    What has lately changed (`PoolState.recency`) a tenant is told by its own latest rewards alone. Discounted sums are
    merged as the others are, each party's as of its own newest outcome.
    """
    own, others = _parties(state, tenant_id)
    if not others and len(own) == 1:
        return state
    arm_ids = dict.fromkeys(arm_id for arms in (state.arms, *(book.arms for book in own)) for arm_id in arms)
    arms = {arm_id: _merged(arm_id, state.dimension, own, others, tenancy) for arm_id in arm_ids}
    recency = max((book.recency for book in own), key=lambda known: known.clock, default=Recency())
    discounted = Discounted(state.discounted.gamma)
    if discounted.gamma != KEEPS_NOTHING:
        for arm_id in arm_ids:
            discounted.arms[arm_id] = _merged_discounted(arm_id, state.dimension, own, others, tenancy)
    return replace(state, arms=arms, recency=recency, discounted=discounted)


def served_as(state: PoolState, tenant_id: str) -> str:
    """Tenants of whom this gives the same are served from the same sums: those without a seat all alike."""
    tenants = state.tenants
    return tenant_id if tenant_id in tenants.sharing.by_tenant or tenant_id in tenants.isolated.by_tenant else ""


def _parties(state: PoolState, tenant_id: str) -> tuple[list[Book], list[Book]]:
    """A tenant's own books, and those of each other party: another sharing tenant, or all strangers together."""
    seats, apart = state.tenants.sharing.by_tenant, state.tenants.isolated.by_tenant.get(tenant_id)
    kept = [] if apart is None else [apart.book]
    if len(seats) <= 1:
        is_its_own = tenant_id in seats or (apart is None and seats.keys() <= {UNTOLD})
        pool = Book(state.arms, state.recency, state.discounted)
        return ([pool, *kept], []) if is_its_own else (kept, [pool])
    own = [seats[tenant_id].book] if tenant_id in seats else []
    others = [seat.book for other, seat in seats.items() if other != tenant_id]
    return own + kept, [*others, _strangers(state)]


def _strangers(state: PoolState) -> Book:
    """What the pool's sums hold beyond those of the seats, by arms of which they hold more."""
    seated = [seat.book for seat in state.tenants.sharing.by_tenant.values()]
    found: Arms = {}
    for arm_id, whole in state.arms.items():
        parts = [book.arms[arm_id] for book in seated if arm_id in book.arms]
        rewards, tokens = sum(part.reward.count for part in parts), sum(part.tokens.count for part in parts)
        if (rewards, tokens) != (whole.reward.count, whole.tokens.count):
            found[arm_id] = _rest(whole, parts)
    return Book(found, discounted=_rest_discounted(state.discounted, [book.discounted for book in seated], found))


def _rest(whole: ArmState, parts: Sequence[ArmState]) -> ArmState:
    rest = whole.copy()
    for part in parts:
        rest.reward.subtract(part.reward)
        rest.tokens.subtract(part.tokens)
    return rest


def _rest_discounted(whole: Discounted, parts: Sequence[Discounted], arms: Arms) -> Discounted:
    """What is left of the arms' discounted sums without those of the parts, all stated at the time of the whole."""
    left = {arm_id: whole.arms[arm_id].copy() for arm_id in arms if arm_id in whole.arms}
    for part in parts if left else ():
        for arm_id, sums in part.at(whole.clock).arms.items():
            if arm_id in left:
                left[arm_id].subtract(sums)
    return replace(whole, arms=left)


def _merged(arm_id: str, dimension: int, own: Sequence[Book], others: Sequence[Book], tenancy: Tenancy) -> ArmState:
    mine, theirs = ([book.arms[arm_id] for book in side if arm_id in book.arms] for side in (own, others))
    return ArmState(
        reward=_combined(dimension, [arm.reward for arm in mine], [arm.reward for arm in theirs], tenancy),
        tokens=_combined(dimension, [arm.tokens for arm in mine], [arm.tokens for arm in theirs], tenancy),
        settled=sum(arm.settled for arm in mine + theirs),
    )


def _combined(
    dimension: int, own: Sequence[RegressionSums], others: Sequence[RegressionSums], tenancy: Tenancy
) -> RegressionSums:
    heard = [sums for sums in others if sums.count > 0]
    weights = np.array([min(1.0, tenancy.voice / sums.count) for sums in heard])
    total = _mixed(_augmented(own, dimension), _augmented(heard, dimension), weights, tenancy)
    count = sum(sums.count for sums in own) + round(float(weights @ [sums.count for sums in heard]))
    return RegressionSums(total[:-1, :-1], total[:-1, -1], square=float(total[-1, -1]), count=count)


def _merged_discounted(
    arm_id: str, dimension: int, own: Sequence[Book], others: Sequence[Book], tenancy: Tenancy
) -> ArmDiscounted:
    mine, theirs = (
        [book.discounted.arms[arm_id] for book in side if arm_id in book.discounted.arms] for side in (own, others)
    )
    heard = [sums for sums in theirs if sums.weight > _NO_WEIGHT]
    weights = np.array([min(1.0, tenancy.voice / sums.weight) for sums in heard])
    total = _mixed(_augmented(mine, dimension), _augmented(heard, dimension), weights, tenancy)
    mine_squared, heard_squared = (
        np.array([sums.square_gram for sums in side]).reshape(-1, dimension, dimension) for side in (mine, heard)
    )
    square_gram = _mixed(mine_squared, heard_squared, np.square(weights), tenancy)
    weight = sum(sums.weight for sums in mine) + float(weights @ [sums.weight for sums in heard])
    return ArmDiscounted(total[:-1, :-1], total[:-1, -1], square_gram, weight)


def _mixed(own: FloatArray, others: FloatArray, weights: FloatArray, tenancy: Tenancy) -> FloatArray:
    """One's own sums (m, e, e) in full, and those of others (n, e, e), weighted (n,), with levels of their own."""
    total: FloatArray = own.sum(axis=0)
    if len(others):
        stacked = weights[:, None, None] * others
        total = total + loosened(loosened(stacked, tenancy.taste).sum(axis=0), tenancy.taste)
    return total


def loosened(sums: FloatArray, precision: float) -> FloatArray:
    """Augmented sums (..., d + 1, d + 1) when their level may deviate with this precision, in units of the noise."""
    level = sums[..., :, 0]
    told = level[..., :, None] * level[..., None, :]
    return np.asarray(sums - told / (sums[..., 0, 0] + precision)[..., None, None], dtype=np.float64)


def _augmented(parties: Sequence[RegressionSums | ArmDiscounted], dimension: int) -> FloatArray:
    """Σ zzᵀ with z = (x, y) of each party, (n, d + 1, d + 1); 0 for Σ y² where it is not known."""
    found = np.empty((len(parties), dimension + 1, dimension + 1))
    for place, sums in zip(found, parties, strict=True):
        place[:-1, :-1] = sums.gram
        place[:-1, -1] = place[-1, :-1] = sums.moment
        place[-1, -1] = sums.square if isinstance(sums, RegressionSums) else 0.0
    return found
