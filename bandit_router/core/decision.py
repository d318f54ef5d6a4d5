"""What Route decided, and the probability with which the whole procedure chose it.

The arm is drawn from p_F over all allowed arms F. If its hold does not fit in what is free, the store changes nothing
and tells what is free; the arm is drawn again from p_F' over those that fit, F' ⊂ F. Seen from outside, arm A is
chosen with

    P(A) = p_F(A) + Σ_{j ∈ F∖F'} p_F(j) · P'(A)

where P' is the same expression for the next round (it may repeat, as others spend meanwhile). F' is what fitted in the
money free at the very moment of the hold, which the store keeps with the record; so the propensity is a pure function
of the record, also when the first draw fitted.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from bandit_router.core.budget import Charge
from bandit_router.core.explorations.registry import Exploration
from bandit_router.core.money import TokenPrices
from bandit_router.core.quotes import ArmQuote, Quotes


class Reason(Enum):
    """Why the arm was chosen."""

    POLICY = "policy"
    FORCED = "forced"
    FALLBACK = "fallback"
    APPRENTICE = "apprentice"
    HOLDOUT = "holdout"
    OUTAGE = "outage"


class Round(NamedTuple):
    """One draw: positions (in the decision's quotes) of the arms it was made over, and their probabilities."""

    arms: tuple[int, ...]
    probabilities: tuple[float, ...]

    def probability_of(self, arm: int) -> float:
        """Probability of the arm at position `arm`; 0 for one that was not in the round."""
        return self.probabilities[self.arms.index(arm)] if arm in self.arms else 0.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """The arm at `position` answers these shares of decisions, wherever it is among the arms drawn over."""

    position: int
    holdout_share: float
    apprentice_share: float

    @property
    def share(self) -> float:
        """Share of decisions that the policy does not answer."""
        return min(1.0, self.holdout_share + self.apprentice_share)

    def mixed(self, policy: Round) -> Round:
        """The policy's draw with the baseline's shares in it: (1 − s) p + s [arm = baseline]."""
        if self.position not in policy.arms:
            return policy
        kept, place = 1.0 - self.share, policy.arms.index(self.position)
        probabilities = [kept * probability for probability in policy.probabilities]
        probabilities[place] += self.share
        return Round(policy.arms, tuple(probabilities))


@dataclass(frozen=True, slots=True)
class DefaultReward:
    """What is assumed of an answer that has no reward at `due_ms`: the pool's terms when it was decided."""

    reward: float
    due_ms: int


@dataclass(frozen=True, slots=True)
class Decision:
    """The immutable part of a decision record: everything that billing, learning and evaluation need of it.

    `learned_rewards`: how many rewards the snapshot contained that it was made from.
    `learned_bills`: from how many bills of the chosen arm its expected cost was made.
    `isolated`: whether what it teaches is the tenant's alone; None in records from before tenants were told apart.
    `charges`: the accounts that its money moves in, the tenant's own first. `shadow`: none of them would refuse it.
    """

    decision_id: str
    request_id: str
    tenant_id: str
    pool_id: str
    chosen: int
    quotes: Quotes
    rounds: tuple[Round, ...]
    context: tuple[float, ...]
    prompt_tokens: int
    cached_tokens: int
    max_output_tokens: int
    prices: TokenPrices
    price_per_usd: float
    snapshot_version: int
    projection_version: int
    policy_id: str
    exploration: Exploration
    reason: Reason
    decided_ms: int
    deadline_ms: int
    window_start_ms: int
    seed: int = 0
    shadow: bool = False
    learned_rewards: int = 0
    learned_bills: int = 0
    baseline: Baseline | None = None
    isolated: bool | None = None
    charges: tuple[Charge, ...] = ()
    pool_generation: int = 0
    default_reward: DefaultReward | None = None

    @property
    def arm_id(self) -> str:
        """The chosen arm."""
        return self.quotes.arm_ids[self.chosen]

    @property
    def quote(self) -> ArmQuote:
        """The chosen arm's quote."""
        return self.quotes[self.chosen]

    @property
    def hold_nusd(self) -> int:
        """What is set aside for the chosen arm."""
        return self.quotes.holds_nusd[self.chosen]


def propensities_of(decision: Decision, *, last_round: Round) -> dict[str, float]:
    """Exact probability of every arm that could be chosen, the whole procedure counted; the values sum to 1.

    `last_round`: the draw over the arms that fitted in what was free just before the hold (`arms_that_fit`): the one
    that would have followed, had the drawn arm not been among them. It carries no weight when all arms fitted.
    """
    arm_ids = decision.quotes.arm_ids
    totals = dict.fromkeys(range(len(arm_ids)), 0.0)
    carried = 1.0
    rounds = decision.rounds
    for index, draw in enumerate(rounds):
        nxt = rounds[index + 1] if index + 1 < len(rounds) else last_round
        for arm, probability in zip(draw.arms, draw.probabilities, strict=True):
            if arm in nxt.arms:
                totals[arm] += carried * probability
        carried *= sum(p for a, p in zip(draw.arms, draw.probabilities, strict=True) if a not in nxt.arms)
    for arm, probability in zip(last_round.arms, last_round.probabilities, strict=True):
        totals[arm] += carried * probability
    whole = sum(totals.values())
    return {arm_ids[arm]: min(1.0, total / whole) for arm, total in totals.items() if total > 0.0}


def arms_that_fit(decision: Decision, *, free_nusd: int) -> tuple[int, ...]:
    """Positions of the arms of the last round whose hold fits in `free_nusd`."""
    holds_nusd = decision.quotes.holds_nusd
    return tuple(arm for arm in decision.rounds[-1].arms if holds_nusd[arm] <= free_nusd)
