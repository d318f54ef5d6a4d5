"""The learned state of a pool: additive sums per arm, and the event-log positions that they contain.

`learn` folds one event (an outcome before and after a commit) into the sums: what the earlier outcome had contributed
is taken out, what the new one contributes is put in, both at the context stored with the decision. Folding is thus
independent of delay and order, and a correction or retraction leaves no trace of the value it replaced.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from bandit_router.core.arm_state import Arms, ArmState, copy_arms
from bandit_router.core.bills import BillSums, answer_bill
from bandit_router.core.decision import Decision
from bandit_router.core.discounted import Discounted, begun
from bandit_router.core.examples import Example, Examples
from bandit_router.core.outcomes import Billing, Outcome
from bandit_router.core.recent import Recency
from bandit_router.core.regression import FloatArray, RegressionSums
from bandit_router.core.seats import UNTOLD, Book, Tenants


@dataclass(slots=True, eq=False)
class PoolState:
    """Everything a pool has learned. `dimension` is the context's length; `version` counts published snapshots.

    `arms`, `recency` and `bills` are over all tenants that share what they teach: sums of everything, of the latest
    rewards, and of how bills compare with what was expected of them; `examples`: the latest single outcomes, as many as
    the pool's learner asks for (`Examples.resize`); `discounted`: sums in which the past fades, as fast as it asks for
    (`discount`). `tenants`: what each tenant has contributed, or kept to itself.
    `generation` is the pool's: decisions of another pool that had its name are none of its own.
    """

    dimension: int
    arms: Arms = field(default_factory=dict)
    positions: dict[int, str] = field(default_factory=dict)
    version: int = 0
    events: int = 0
    projection_version: int = 0
    examples: Examples = field(default_factory=Examples)
    recency: Recency = field(default_factory=Recency)
    bills: dict[str, BillSums] = field(default_factory=dict)
    tenants: Tenants = field(default_factory=Tenants)
    generation: int = 0
    discounted: Discounted = field(default_factory=Discounted)

    @property
    def rewards(self) -> int:
        """How many rewards have been learned: the pool's logical time. It stands still, and does not go back, where
        rewards are retracted; else what comes next would count as long past."""
        return Book(self.arms, self.recency).rewards

    def copy(self) -> PoolState:
        """An independent copy: folding into it leaves the original as it is."""
        return PoolState(
            self.dimension,
            copy_arms(self.arms),
            dict(self.positions),
            self.version,
            self.events,
            self.projection_version,
            self.examples.copy(),
            self.recency.copy(),
            dict(self.bills),
            self.tenants.copy(),
            self.generation,
            self.discounted.copy(),
        )

    def discount(self, gamma: float) -> None:
        """Keep sums discounted by γ per reward from now on (KEEPS_NOTHING: none); at another γ they begin anew."""
        if self.discounted.gamma == gamma:
            return
        self.discounted = begun(gamma, self.arms, clock=self.rewards)
        for seat in self.tenants.sharing.by_tenant.values():
            seat.book.discounted = self.discounted.with_arms(seat.book.arms)
        for seat in self.tenants.isolated.by_tenant.values():
            seat.book.discounted = begun(gamma, seat.book.arms, clock=seat.book.rewards)


class MismatchedContext(ValueError):
    """An event's context has another length, or comes from another projection or pool, than the state knows."""


def learn(state: PoolState, decision: Decision, before: Outcome, after: Outcome) -> None:
    """Fold one event into `state` in place. Raises MismatchedContext (state untouched)."""
    x = np.asarray(decision.context, dtype=np.float64)
    if len(x) != state.dimension:
        raise MismatchedContext(f"context has {len(x)} coordinates, the pool {state.dimension}")
    if decision.projection_version != state.projection_version:
        raise MismatchedContext(f"projection {decision.projection_version}, the pool's is {state.projection_version}")
    if decision.pool_generation not in (0, state.generation):  # the first schema had none
        raise MismatchedContext(f"generation {decision.pool_generation}, the pool's is {state.generation}")
    for book in _books(state, decision):
        _enter(book, x, decision, before, after)
    if state.examples.capacity and before.reward != after.reward and not decision.isolated:
        state.examples.put(_example(decision, after))
    bills = state.bills.get(decision.arm_id, BillSums())
    state.bills[decision.arm_id] = (
        bills.booked(before, after) if decision.isolated else bills.changed(decision, before, after)
    )
    state.events += 1


def _books(state: PoolState, decision: Decision) -> list[Book]:
    """Where the decision's outcomes are entered."""
    tenant_id = UNTOLD if decision.isolated is None else decision.tenant_id
    pool = Book(state.arms, state.recency, state.discounted)
    return state.tenants.books(tenant_id, decision.decided_ms, pool, isolated=bool(decision.isolated))


def _enter(book: Book, x: FloatArray, decision: Decision, before: Outcome, after: Outcome) -> None:
    arm = book.arms.get(decision.arm_id)
    if arm is None:
        arm = book.arms[decision.arm_id] = ArmState.empty(len(x))
    _replace(arm.reward, x, before.reward, after.reward)
    for faded in (book.recency, book.discounted):
        faded.replace(decision.arm_id, x, learned=decision.learned_rewards, old=before.reward, new=after.reward)
    _replace(arm.tokens, x, log_output_tokens(decision, before), log_output_tokens(decision, after))
    arm.settled += (before.billing is Billing.HELD) - (after.billing is Billing.HELD)


def _example(decision: Decision, outcome: Outcome) -> Example:
    context = np.asarray(decision.context, dtype=np.float32)
    return Example(decision.decision_id, decision.arm_id, decision.decided_ms, context, outcome.reward)


def log_output_tokens(decision: Decision, outcome: Outcome) -> float | None:
    """ln of the output tokens that this outcome shows (at least one), or None if it shows none.

    A failed or cancelled call says nothing about how long an answer would have been; a bill without token counts
    says it through the prices it was made at.
    """
    bill = answer_bill(outcome)
    if bill is None:
        return None
    tokens: float | None = bill.output_tokens
    if tokens is None:
        cached_tokens = decision.cached_tokens if bill.cached_input_tokens is None else bill.cached_input_tokens
        input_tokens = decision.prompt_tokens if bill.input_tokens is None else bill.input_tokens
        tokens = decision.prices.output_tokens_of(
            bill.cost_nusd, input_tokens=input_tokens, cached_input_tokens=cached_tokens
        )
    return None if tokens is None else math.log(max(1.0, tokens))


def _replace(sums: RegressionSums, x: FloatArray, old: float | None, new: float | None) -> None:
    if old == new:
        return
    if old is not None:
        sums.remove(x, old)
    if new is not None:
        sums.add(x, new)
