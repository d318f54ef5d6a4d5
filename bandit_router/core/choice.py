"""From predictions to a draw: quotes, feasibility, scores and choice probabilities of one query. Pure.

g_a = q_a + α · deviation_a − charge(c_a)          (λ c_a where the budget policy is linear in dollars)
p   = exploration layer of g over the feasible arms
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bandit_router.core.arm_table import ArmTable
from bandit_router.core.budget_policies.protocol import Charge
from bandit_router.core.decision import ArmQuote, Baseline, Reason, Round
from bandit_router.core.draw import pick
from bandit_router.core.explorations.normals import keyed_normals
from bandit_router.core.explorations.registry import Exploration
from bandit_router.core.model import Predictions
from bandit_router.core.money import bills_nusd
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

    @property
    def is_restricted(self) -> bool:
        """Whether the request names arms, a highest cost or a least reward."""
        return bool(self.allowed_arm_ids) or self.max_cost_nusd is not None or self.min_expected_reward is not None

    def most_output_tokens(self, arm: Arm) -> int:
        """The arm's maximum, or the request's if that is smaller."""
        if self.max_output_tokens is None:
            return arm.max_output_tokens
        return min(self.max_output_tokens, arm.max_output_tokens)

    def cached_tokens_at(self, arm: Arm) -> int:
        """Prompt tokens that this arm's provider has cached for the session."""
        return min(self.cached_tokens, self.prompt_tokens) if arm.arm_id == self.last_arm_id else 0


def quote_arms(table: ArmTable, query: Query, *, charge: Charge, hold_policy: HoldPolicy) -> tuple[ArmQuote, ...]:
    """A quote per arm; arms that may not be chosen carry the reason."""
    predictions = table.model.predict(query.context[None, :])
    most = _most_tokens(table, query)
    tokens: list[float] = predictions.output_tokens(most)[0].tolist()
    costs_nusd = _costs_nusd(table, query, tokens)
    holds_nusd = costs_nusd
    if hold_policy is not HoldPolicy.EXPECTED:
        holds_nusd = _holds_nusd(table, query, most, predictions, hold_policy)
    rewards: list[float] = predictions.reward[0].tolist()
    deviations: list[float] = predictions.deviation[0].tolist()
    excluded = _exclusions(table, query, rewards, costs_nusd)
    scores = table.scores(rewards, deviations, costs_nusd, charge=charge, excluded=excluded)
    rows = zip(table.model.arm_ids, rewards, deviations, tokens, costs_nusd, holds_nusd, scores, excluded, strict=True)
    return tuple(map(ArmQuote._make, rows))


def candidates(quotes: Sequence[ArmQuote], *, free_nusd: int | None = None) -> tuple[int, ...]:
    """Positions of the arms that may be chosen and, where `free_nusd` is given, whose hold fits in it."""
    allowed = [index for index, quote in enumerate(quotes) if not quote.excluded_because]
    if free_nusd is not None:
        allowed = [index for index in allowed if quotes[index].hold_nusd <= free_nusd]
    return tuple(allowed)


def weigh_round(
    quotes: Sequence[ArmQuote], arms: tuple[int, ...], exploration: Exploration, *, seed: int, key: str
) -> Round:
    """Choice probabilities over the arms at positions `arms` (at least one).

    `seed` and `key` name the draws of a layer that makes its own; they are those of the decision in every round.
    """

    def normals(samples: int) -> FloatArray:
        return keyed_normals(seed, key, arms=len(quotes))(samples)[:, list(arms)]

    drawn = [quotes[index] for index in arms]
    weights = exploration.weigh_one([q.score for q in drawn], [q.uncertainty for q in drawn], normals)
    return Round(arms, tuple(weights))


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


def _most_tokens(table: ArmTable, query: Query) -> FloatArray:
    """Longest answers (K,): the arms' own, or the request's where that is smaller."""
    if query.max_output_tokens is None:
        return table.most_tokens
    most: FloatArray = np.minimum(table.most_tokens, float(query.max_output_tokens))
    return most


def _costs_nusd(table: ArmTable, query: Query, tokens: Sequence[float]) -> list[int]:
    """Expected bills with so many output tokens: list prices, times what bills are of those."""
    listed_nusd = bills_nusd(
        input_tokens=query.prompt_tokens,
        output_tokens=map(math.ceil, tokens),
        input_prices=table.input_prices,
        output_prices=table.output_prices,
    )
    if query.cached_tokens and query.last_arm_id in table.model.arm_ids:
        index = table.model.arm_ids.index(query.last_arm_id)
        arm = table.arms[index]
        listed_nusd[index] = arm.prices.cost_nusd(
            input_tokens=query.prompt_tokens,
            output_tokens=math.ceil(tokens[index]),
            cached_input_tokens=query.cached_tokens_at(arm),
        )
    return [
        nusd if ratio == 1.0 else math.ceil(ratio * nusd) for nusd, ratio in zip(listed_nusd, table.ratios, strict=True)
    ]


def _holds_nusd(
    table: ArmTable, query: Query, most: FloatArray, predictions: Predictions, hold_policy: HoldPolicy
) -> list[int]:
    """Holds that do not follow from the expected cost: they are at list prices, which bills cannot correct."""
    tokens: Iterable[int] = table.longest_answers
    if hold_policy is HoldPolicy.QUANTILE:
        tokens = map(math.ceil, predictions.output_tokens_quantile(most, HOLD_QUANTILE_95)[0].tolist())
    elif query.max_output_tokens is not None:
        tokens = [min(query.max_output_tokens, longest) for longest in table.longest_answers]
    return bills_nusd(
        input_tokens=query.most_prompt_tokens,
        output_tokens=tokens,
        input_prices=table.dearest_input_prices,
        output_prices=table.output_prices,
    )


def _exclusions(table: ArmTable, query: Query, rewards: Sequence[float], costs_nusd: Sequence[int]) -> tuple[str, ...]:
    """Why each arm may not be chosen, or ''."""
    if not query.is_restricted:
        return table.unavailable
    return tuple(
        unavailable or _refusal(arm_id, query, reward=reward, cost_nusd=cost_nusd)
        for arm_id, unavailable, reward, cost_nusd in zip(
            table.model.arm_ids, table.unavailable, rewards, costs_nusd, strict=True
        )
    )


def _refusal(arm_id: str, query: Query, *, reward: float, cost_nusd: int) -> str:
    if query.allowed_arm_ids and arm_id not in query.allowed_arm_ids:
        return "not_allowed"
    if query.max_cost_nusd is not None and cost_nusd > query.max_cost_nusd:
        return "max_cost_nusd"
    if query.min_expected_reward is not None and reward < query.min_expected_reward:
        return "min_expected_reward"
    return ""
