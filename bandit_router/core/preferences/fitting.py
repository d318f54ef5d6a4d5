"""From battles and scores about embedded prompts to the priors of arms, with what is known of how good they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bandit_router.core.context import build_context, expected_prompt_tokens
from bandit_router.core.preferences.anchoring import anchored, fit_anchor
from bandit_router.core.preferences.battles import BattleTable, accuracy, log_loss
from bandit_router.core.preferences.bradley_terry import choose_ridge, fit_utilities
from bandit_router.core.preferences.scores import ScoreTable, scored, with_scores
from bandit_router.core.prior import ArmPrior
from bandit_router.core.projection import Projection
from bandit_router.core.regression import FloatArray

HELD_OUT_FOLD = 5
LEAST_PROMPTS_HELD_OUT = 10


@dataclass(frozen=True, slots=True, eq=False)
class Battlefield:
    """Battles, and the contexts (m, d) of the prompts that they are about."""

    table: BattleTable
    contexts: FloatArray


@dataclass(frozen=True, slots=True)
class HeldOut:
    """How well battles about unseen prompts were foretold, beside a Bradley-Terry model that does not read prompts."""

    battles: int
    accuracy: float
    log_loss: float
    plain_accuracy: float
    plain_log_loss: float


def contexts_of(
    prompts: Sequence[str], embeddings: FloatArray, projection: Projection, features: Sequence[str] = ()
) -> FloatArray:
    """Contexts (m, d) as the router would build them, with no declared feature given."""
    projected = projection.apply(embeddings)
    rows = [
        build_context(row, prompt_tokens=expected_prompt_tokens(len(prompt.encode())), names=features, features={})
        for prompt, row in zip(prompts, projected, strict=True)
    ]
    return np.array(rows, dtype=np.float64)


def fit_arms(battles: Battlefield | None, scores: ScoreTable | None) -> Mapping[str, ArmPrior]:
    """Priors of all arms that fought or were scored; for those that did both, what the two say together.

    Scores of arms that fought are taken as they are, not shrunk towards those of others: battles tell better how arms
    differ, and shrinking would speak against it.

    The scores also give the battles their level and scale. They are thus used twice for such arms, the second time
    for d + 1 numbers that all arms share; how far to trust the result is decided online (`core.prior_strength`).
    """
    found = {} if scores is None else scored(scores)
    if battles is None or not len(battles.table):
        return found
    ridge = choose_ridge(battles.table, battles.contexts)
    utilities = fit_utilities(battles.table, battles.contexts, ridge=ridge)
    for arm_id, prior in anchored(utilities, fit_anchor(utilities, scores)).items():
        found[arm_id] = prior if scores is None else with_scores(prior, *scores.of(arm_id))
    return found


def split_by_prompt(table: BattleTable) -> tuple[BattleTable, BattleTable] | None:
    """The battles, and those about every fifth prompt, which are held out; None with too few prompts to tell."""
    is_unseen = table.prompt % HELD_OUT_FOLD == HELD_OUT_FOLD - 1
    if len(np.unique(table.prompt[is_unseen])) < LEAST_PROMPTS_HELD_OUT:
        return None
    return table.rows(~is_unseen), table.rows(is_unseen)


def judged(seen: BattleTable, unseen: BattleTable, contexts: FloatArray) -> HeldOut:
    """Fit on the battles seen, foretell the others."""
    plain = contexts[:, :1]
    reading = fit_utilities(seen, contexts, ridge=choose_ridge(seen, contexts)).probabilities(unseen, contexts)
    blind = fit_utilities(seen, plain, ridge=1.0).probabilities(unseen, plain)
    return HeldOut(
        battles=len(unseen),
        accuracy=accuracy(unseen.wins, reading),
        log_loss=log_loss(unseen.wins, reading),
        plain_accuracy=accuracy(unseen.wins, blind),
        plain_log_loss=log_loss(unseen.wins, blind),
    )
