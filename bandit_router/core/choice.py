"""From predictions to a draw: quotes, feasibility, scores and choice probabilities of one query. Pure.

g_a = q_a + α · deviation_a − charge(c_a)          (λ c_a where the budget policy is linear in dollars)
p   = exploration layer of g over the feasible arms
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bandit_router.core.budget_policies.protocol import Charge
from bandit_router.core.decision import ArmQuote, Baseline, Reason, Round
from bandit_router.core.draw import pick
from bandit_router.core.explorations.normals import keyed_normals
from bandit_router.core.explorations.registry import Exploration
from bandit_router.core.model import PoolModel, Predictions
from bandit_router.core.money import NUSD_PER_USD, TOKENS_PER_MTOK
from bandit_router.core.onboarding import are_new, lifted
from bandit_router.core.regression import FloatArray
from bandit_router.core.resources import Arm, HoldPolicy

HOLD_QUANTILE_95 = 1.6449


@dataclass(frozen=True, slots=True, eq=False)
class Query:
    """One request, encoded. `prompt_tokens` is the expected count, `most_prompt_tokens` a bound for the hold."""

    context: FloatArray
    prompt_tokens: int
    most_prompt_tokens: int
    max_output_tokens: int | None = None
    allowed_arm_ids: frozenset[str] = frozenset()
    max_cost_nusd: int | None = None
    min_expected_reward: float | None = None
    last_arm_id: str = ""
    cached_tokens: int = 0

    def most_output_tokens(self, arm: Arm) -> int:
        """The arm's maximum, or the request's if that is smaller."""
        if self.max_output_tokens is None:
            return arm.max_output_tokens
        return min(self.max_output_tokens, arm.max_output_tokens)

    def cached_tokens_at(self, arm: Arm) -> int:
        """Prompt tokens that this arm's provider has cached for the session."""
        return min(self.cached_tokens, self.prompt_tokens) if arm.arm_id == self.last_arm_id else 0


def quote_arms(
    model: PoolModel, arms: Sequence[Arm], query: Query, *, charge: Charge, hold_policy: HoldPolicy
) -> tuple[ArmQuote, ...]:
    """A quote per arm; arms that may not be chosen carry the reason. `model.arm_ids` are those of `arms`, in order."""
    predictions = model.predict(query.context[None, :])
    most = np.array([query.most_output_tokens(arm) for arm in arms], dtype=np.float64)
    tokens = predictions.output_tokens(most)[0]
    costs_nusd = [
        expected_cost_nusd(arm, query, output_tokens, ratio=ratio)
        for arm, output_tokens, ratio in zip(arms, tokens.tolist(), predictions.cost_ratio.tolist(), strict=True)
    ]
    holds_nusd = costs_nusd
    if hold_policy is not HoldPolicy.EXPECTED:
        holds_nusd = _holds_nusd(arms, query, most, predictions, hold_policy)
    rewards = predictions.reward[0].tolist()
    excluded = [
        _exclusion(arm, query, reward=reward, cost_nusd=cost_nusd)
        for arm, reward, cost_nusd in zip(arms, rewards, costs_nusd, strict=True)
    ]
    scores = model.scores(predictions, np.array(costs_nusd, dtype=np.int64), charge)
    if not model.has_fixed_shares:
        scores = _lifted(scores, model, arms, excluded)
    quotes = []
    for index, arm in enumerate(arms):
        quotes.append(
            ArmQuote(
                arm_id=arm.arm_id,
                expected_reward=rewards[index],
                uncertainty=float(predictions.deviation[0, index]),
                expected_output_tokens=float(tokens[index]),
                expected_cost_nusd=costs_nusd[index],
                hold_nusd=holds_nusd[index],
                score=float(scores[index]),
                excluded_because=excluded[index],
            )
        )
    return tuple(quotes)


def expected_cost_nusd(arm: Arm, query: Query, output_tokens: float, *, ratio: float = 1.0) -> int:
    """Expected bill of the query: `ratio` times what it costs at this arm's list prices."""
    listed_nusd = arm.prices.cost_nusd(
        input_tokens=query.prompt_tokens,
        output_tokens=math.ceil(output_tokens),
        cached_input_tokens=query.cached_tokens_at(arm),
    )
    return listed_nusd if ratio == 1.0 else math.ceil(ratio * listed_nusd)


def candidates(quotes: Sequence[ArmQuote], *, free_nusd: int | None = None) -> tuple[int, ...]:
    """Positions of the arms that may be chosen and, where `free_nusd` is given, whose hold fits in it."""
    return tuple(
        index
        for index, quote in enumerate(quotes)
        if not quote.excluded_because and (free_nusd is None or quote.hold_nusd <= free_nusd)
    )


def weigh_round(
    quotes: Sequence[ArmQuote], arms: tuple[int, ...], exploration: Exploration, *, seed: int, key: str
) -> Round:
    """Choice probabilities over the arms at positions `arms` (at least one).

    `seed` and `key` name the draws of a layer that makes its own; they are those of the decision in every round.
    """
    places = list(arms)
    normals = keyed_normals(seed, key, arms=len(quotes))
    weights = exploration.weigh(
        np.array([quotes[index].score for index in places]),
        np.array([quotes[index].uncertainty for index in places]),
        lambda samples: normals(samples)[:, places],
    )
    return Round(arms=arms, probabilities=tuple(weights.tolist()))


def draw_arm(draw: Round, uniform: float) -> int:
    """Position of the arm that a uniform number in [0, 1) selects."""
    return draw.arms[pick(draw.probabilities, uniform)]


def draw_reason(policy: Round, uniform: float, baseline: Baseline | None) -> tuple[int, Reason]:
    """Position of the arm that a uniform number in [0, 1) selects, and who has chosen it.

    The lowest numbers are the hold-out's, the next the apprentice's, the rest the policy's; so an arm is selected with
    the probability that `Baseline.mixed` gives it.
    """
    if baseline is None or baseline.position not in policy.arms:
        return draw_arm(policy, uniform), Reason.POLICY
    if uniform < baseline.share:
        reason = Reason.HOLDOUT if uniform < baseline.holdout_share else Reason.APPRENTICE
        return baseline.position, reason
    return draw_arm(policy, (uniform - baseline.share) / (1.0 - baseline.share)), Reason.POLICY


def costs_usd(arms: Sequence[Arm], predictions: Predictions, prompt_tokens: FloatArray) -> FloatArray:
    """Expected cost in USD (n, K) of n queries with so many prompt tokens (n,) at each arm."""
    scale = TOKENS_PER_MTOK * NUSD_PER_USD
    input_usd = np.array([arm.prices.input_nusd_per_mtok / scale for arm in arms])
    output_usd = np.array([arm.prices.output_nusd_per_mtok / scale for arm in arms])
    most = np.array([arm.max_output_tokens for arm in arms], dtype=np.float64)
    listed = prompt_tokens[:, None] * input_usd + predictions.output_tokens(most) * output_usd
    total: FloatArray = listed * predictions.cost_ratio
    return total


def _lifted(scores: FloatArray, model: PoolModel, arms: Sequence[Arm], excluded: Sequence[str]) -> FloatArray:
    """Scores with those of new arms raised to the best of the arms that may be chosen."""
    new = are_new(arms, model.calibration.spent_nusd)
    allowed = np.array([not reason for reason in excluded], dtype=bool)
    if not (new & allowed).any():
        return scores
    raised = scores.copy()
    raised[allowed] = lifted(scores[allowed], new[allowed])
    return raised


def _exclusion(arm: Arm, query: Query, *, reward: float, cost_nusd: int) -> str:
    if not arm.enabled:
        return "disabled"
    if arm.draining:
        return "draining"
    if query.allowed_arm_ids and arm.arm_id not in query.allowed_arm_ids:
        return "not_allowed"
    if query.max_cost_nusd is not None and cost_nusd > query.max_cost_nusd:
        return "max_cost_nusd"
    if query.min_expected_reward is not None and reward < query.min_expected_reward:
        return "min_expected_reward"
    return ""


def _holds_nusd(
    arms: Sequence[Arm], query: Query, most: FloatArray, predictions: Predictions, hold_policy: HoldPolicy
) -> list[int]:
    """Holds that do not follow from the expected cost: they are at list prices, which bills cannot correct."""
    tokens = most
    if hold_policy is HoldPolicy.QUANTILE:
        tokens = predictions.output_tokens_quantile(most, HOLD_QUANTILE_95)[0]
    return [
        arm.prices.dearest_nusd(input_tokens=query.most_prompt_tokens, output_tokens=math.ceil(output_tokens))
        for arm, output_tokens in zip(arms, tokens.tolist(), strict=True)
    ]
