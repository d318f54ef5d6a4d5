"""From predictions to a draw: quotes, feasibility, scores and choice probabilities of one query. Pure.

g_a = q_a + α · deviation_a − charge(c_a)          (λ c_a where the budget policy is linear in dollars)
p   = exploration layer of g over the feasible arms
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp

from bandit_router.core.arm_table import ArmTable
from bandit_router.core.budget_policies.protocol import Charge
from bandit_router.core.decision import Baseline, Reason, Round
from bandit_router.core.draw import pick
from bandit_router.core.explorations.normals import keyed_normals
from bandit_router.core.explorations.registry import Exploration
from bandit_router.core.model import MAX_LOG_TOKENS, MAX_TOKENS, capped_tokens
from bandit_router.core.money import TOKENS_PER_MTOK
from bandit_router.core.quotes import Quotes
from bandit_router.core.regression import FloatArray
from bandit_router.core.resources import Arm, HoldPolicy

HOLD_QUANTILE_95 = 1.6449
_ROUND_UP = TOKENS_PER_MTOK - 1


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


def quote_arms(table: ArmTable, query: Query, *, charge: Charge, hold_policy: HoldPolicy) -> Quotes:
    """A quote per arm; arms that may not be chosen carry the reason.

    Expected bills are list prices, times what bills are of those. Holds are at list prices, unless they are expected.
    Both are exact and rounded up as by `TokenPrices`, and answers are capped as by `capped_tokens`, but written out:
    calls would add a fifth to the cost of a decision.
    """
    model, prompt_tokens, most_prompt_tokens = table.model, query.prompt_tokens, query.most_prompt_tokens
    rewards, deviations, log_tokens = model.predict_one(query.context)
    alpha, asked = model.fitted.alpha, query.max_output_tokens
    optimistic, tokens, costs_nusd, holds_nusd = [], [], [], []
    for lift, longest, input_price, dearest_price, output_price, ratio, mean, reward, deviation in zip(
        *table.columns, log_tokens, rewards, deviations, strict=True
    ):
        if asked is not None and asked < longest:
            longest = asked
        log_answer = mean + lift
        answer = exp(log_answer) if log_answer < MAX_LOG_TOKENS else MAX_TOKENS
        if not answer < longest:
            answer = float(longest)
        cost_nusd = (prompt_tokens * input_price + ceil(answer) * output_price + _ROUND_UP) // TOKENS_PER_MTOK
        optimistic.append(reward + alpha * deviation)
        tokens.append(answer)
        costs_nusd.append(cost_nusd if ratio == 1.0 else ceil(ratio * cost_nusd))
        holds_nusd.append((most_prompt_tokens * dearest_price + longest * output_price + _ROUND_UP) // TOKENS_PER_MTOK)
    if query.cached_tokens and query.last_arm_id in model.arm_ids:
        position = model.arm_ids.index(query.last_arm_id)
        costs_nusd[position] = _cached_cost_nusd(table, query, position, tokens[position])
    if hold_policy is not HoldPolicy.WORST_CASE:
        expected = hold_policy is HoldPolicy.EXPECTED
        holds_nusd = costs_nusd if expected else _quantile_holds_nusd(table, query, log_tokens)
    excluded = _exclusions(table, query, rewards, costs_nusd) if query.is_restricted else table.unavailable
    scores = table.scores(optimistic, costs_nusd, charge=charge, excluded=excluded)
    return Quotes(model.arm_ids, rewards, deviations, tokens, costs_nusd, holds_nusd, scores, excluded)


def candidates(quotes: Quotes, *, free_nusd: int | None = None) -> tuple[int, ...]:
    """Positions of the arms that may be chosen and, where `free_nusd` is given, whose hold fits in it."""
    if free_nusd is None and not any(quotes.excluded):
        return tuple(range(len(quotes.excluded)))
    allowed = [position for position, reason in enumerate(quotes.excluded) if not reason]
    if free_nusd is not None:
        allowed = [position for position in allowed if quotes.holds_nusd[position] <= free_nusd]
    return tuple(allowed)


def weigh_round(quotes: Quotes, arms: tuple[int, ...], exploration: Exploration, *, seed: int, key: str) -> Round:
    """Choice probabilities over the arms at positions `arms` (at least one).

    `seed` and `key` name the draws of a layer that makes its own; they are those of the decision in every round.
    """

    def normals(samples: int) -> FloatArray:
        return keyed_normals(seed, key, arms=len(quotes))(samples)[:, list(arms)]

    scores, deviations = quotes.scores, quotes.uncertainties
    if len(arms) != len(scores):
        scores, deviations = [scores[arm] for arm in arms], [deviations[arm] for arm in arms]
    return Round(arms, tuple(exploration.weigh_one(scores, deviations, normals)))


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


def _quantile_holds_nusd(table: ArmTable, query: Query, log_tokens: Sequence[float]) -> list[int]:
    """Holds that cover all but one answer in twenty, as lengths are distributed by the token model."""
    return [
        arm.prices.dearest_nusd(
            input_tokens=query.most_prompt_tokens,
            output_tokens=ceil(capped_tokens(mean + HOLD_QUANTILE_95 * spread, query.most_output_tokens(arm))),
        )
        for arm, mean, spread in zip(table.arms, log_tokens, table.model.tokens.sd.tolist(), strict=True)
    ]


def _cached_cost_nusd(table: ArmTable, query: Query, position: int, tokens: float) -> int:
    """The expected bill of the arm that has a part of the prompt in its cache."""
    arm, ratio = table.arms[position], table.columns.ratios[position]
    listed_nusd = arm.prices.cost_nusd(
        input_tokens=query.prompt_tokens,
        output_tokens=ceil(tokens),
        cached_input_tokens=query.cached_tokens_at(arm),
    )
    return listed_nusd if ratio == 1.0 else ceil(ratio * listed_nusd)


def _exclusions(table: ArmTable, query: Query, rewards: Sequence[float], costs_nusd: Sequence[int]) -> tuple[str, ...]:
    """Why each arm may not be chosen by a query that is restricted, or ''."""
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
