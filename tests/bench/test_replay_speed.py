"""What replaying costs beside a bare loop over the same core calls: a ratio within one run, never a time.

The bare loop makes every call of `core` that a decision needs, with the same inputs and at the same cadence, and keeps
nothing: no services, no stores, no records. Both go through the log slice by slice in turns, so that whatever else the
machine does falls on both, and neither waits for anything, so CPU time is what counts. That they choose the same arms
shows that the loop leaves nothing out that matters.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest

from bandit_router.core.arm_table import ArmTable
from bandit_router.core.budget_policies.protocol import LinearCharge, Reservoir
from bandit_router.core.budget_policies.replan import SOLVE_EVERY
from bandit_router.core.choice import (
    Query,
    candidates,
    draw_arm,
    quote_arms,
    weigh_round,
)
from bandit_router.core.context import build_context, expected_prompt_tokens
from bandit_router.core.decision import Decision, Reason, Round, arms_that_fit, propensities_of
from bandit_router.core.draw import uniform
from bandit_router.core.explorations.normals import batch_normals
from bandit_router.core.explorations.registry import parse_exploration
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import build_model
from bandit_router.core.money import TokenPrices, nusd_to_usd, parse_price, usd_to_nusd
from bandit_router.core.outcomes import Bill, Feedback, Outcome, apply_feedback
from bandit_router.core.pool_state import PoolState, learn
from bandit_router.core.projection import identity_projection
from bandit_router.core.quotes import Quotes
from bandit_router.core.regression import FloatArray
from bandit_router.core.replan import solve_price
from bandit_router.core.resources import Arm, HoldPolicy
from bandit_router.ports.ledger import RECENT_CONTEXTS
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.replay.engine import Replay
from bandit_router_sim.replay.order import order_of, random_of
from bandit_router_sim.replay.pricing import price_by_cost
from bandit_router_sim.replay.result import REFUSED
from bandit_router_sim.replay.setting import POLICIES, Material, Setting
from bandit_router_sim.replay.sweep import encoder_handle

DECISIONS = 100_000
SLICES = 20
ARMS = 8
DIMENSION = 32
BUDGET_USD = 5e-4
MOST = 3.0
NEVER_MS = 10**15


def synthetic(count: int, *, dimension: int = 256) -> Material:
    """Eight arms over two and a half decades of cost; rewards and costs are linear in the embedding, with noise."""
    random = random_of(0)
    embeddings = random.normal(size=(count, dimension)) * np.linspace(1.0, 0.1, dimension)
    embeddings = (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
    taste = 0.35 * random.normal(size=(dimension, ARMS))
    scores = np.linspace(0.55, 0.92, ARMS) + embeddings @ taste + 0.1 * random.normal(size=(count, ARMS))
    length = 0.6 * embeddings @ random.normal(size=(dimension, 1)) + 0.3 * random.normal(size=(count, ARMS))
    costs = np.geomspace(3e-5, 1.5e-2, ARMS) * np.exp(length)
    unknown = np.full((count, ARMS), np.nan)
    log = FullLog(
        name="synthetic",
        arm_ids=tuple(f"arm{index}" for index in range(ARMS)),
        query_ids=tuple(str(index) for index in range(count)),
        prompts=("How did the postal service of the last century work? " * 3,) * count,
        sources=("",) * count,
        splits=("",) * count,
        scores=np.clip(scores, 0.0, 1.0),
        costs_usd=costs,
        input_tokens=unknown,
        output_tokens=unknown,
    )
    return Material(log=log, embeddings=embeddings, prices=price_by_cost(log))


@dataclass(slots=True)
class Purse:
    """The money of the one window."""

    limit_nusd: int
    spent_nusd: int = 0
    decisions: int = 0

    @property
    def free_nusd(self) -> int:
        return self.limit_nusd - self.spent_nusd


class BareLoop:
    """The core calls of one replay."""

    def __init__(self, material: Material, setting: Setting) -> None:
        self.material, self.setting = material, setting
        self.order = order_of(len(material.log), random_of(setting.seed))
        self.arms = tuple(
            Arm(arm_id, TokenPrices(0, parse_price(price.output_usd_per_mtok), 0), price.max_output_tokens)
            for arm_id, price in material.prices.items()
        )
        self.exploration = parse_exploration(setting.policy.exploration)
        self.learner = parse_learner(setting.policy.learner)
        self.projection = identity_projection(material.embeddings.shape[1], setting.policy.dimension)
        self.embeddings = material.embeddings.astype(np.float32)
        self.state = PoolState(dimension=2 + setting.policy.dimension)
        self.table = self.rebuilt()
        self.purse = Purse(usd_to_nusd(Decimal(repr(setting.budget_usd)) * len(self.order)))
        self.price_per_usd, self.solved = 0.0, (-1, -1)
        self.recent: deque[Query] = deque(maxlen=RECENT_CONTEXTS)
        self.events: list[tuple[Decision, Outcome, Outcome]] = []
        self.chosen: list[int] = []
        self.propensities: list[float] = []

    def rebuilt(self) -> ArmTable:
        return ArmTable.of(build_model(self.state, [arm.arm_id for arm in self.arms], self.learner), self.arms)

    def run(self, first: int, last: int) -> None:
        for number in range(first, last):
            self.serve(number)
            if number % self.setting.fold_every == 0:
                self.fold()

    def serve(self, number: int) -> None:
        row = int(self.order[number])
        query = self.query(row)
        self.resolve(query)
        quotes = quote_arms(
            self.table, query, charge=LinearCharge(self.price_per_usd), hold_policy=HoldPolicy.WORST_CASE
        )
        rounds = self.draws(number, quotes)
        if rounds is None:
            self.chosen.append(REFUSED)
            self.propensities.append(0.0)
            return
        self.recent.appendleft(query)
        self.settle(row, self.decision(number, query, quotes, *rounds))

    def draws(self, number: int, quotes: Quotes) -> tuple[int, tuple[Round, ...]] | None:
        """The arm drawn, again over those that fit if the first did not, and the rounds; None: nothing fits."""
        rounds: list[Round] = []
        fitting = candidates(quotes)
        while fitting:
            rounds.append(weigh_round(quotes, fitting, self.exploration, seed=self.setting.seed, key=str(number)))
            position = draw_arm(rounds[-1], uniform(self.setting.seed, str(number), len(rounds) - 1))
            if quotes[position].hold_nusd <= self.purse.free_nusd:
                return position, tuple(rounds)
            fitting = candidates(quotes, free_nusd=self.purse.free_nusd)
        return None

    def decision(self, number: int, query: Query, quotes: Quotes, position: int, rounds: tuple[Round, ...]) -> Decision:
        return Decision(
            decision_id=str(number),
            request_id=str(number),
            tenant_id="",
            pool_id="",
            chosen=position,
            quotes=quotes,
            rounds=rounds,
            context=tuple(query.context.tolist()),
            prompt_tokens=query.prompt_tokens,
            cached_tokens=0,
            max_output_tokens=self.arms[position].max_output_tokens,
            prices=self.arms[position].prices,
            price_per_usd=self.price_per_usd,
            snapshot_version=self.state.version,
            projection_version=0,
            policy_id="",
            exploration=self.exploration,
            reason=Reason.POLICY,
            decided_ms=0,
            deadline_ms=NEVER_MS,
            window_start_ms=0,
            learned_rewards=self.table.model.rewards,
            learned_bills=self.table.model.calibration.counts[position],
        )

    def query(self, row: int) -> Query:
        tokens = expected_prompt_tokens(len(self.material.log.prompts[row].encode()))
        projected = self.projection.apply(self.embeddings[row][None, :])[0]
        context = build_context(projected, prompt_tokens=tokens, names=(), features={}).astype(np.float64)
        return Query(context, tokens, tokens)

    def settle(self, row: int, decision: Decision) -> None:
        last = decision.rounds[-1]
        fitting = arms_that_fit(decision, free_nusd=self.purse.free_nusd)
        if fitting != last.arms:
            last = weigh_round(
                decision.quotes, fitting, self.exploration, seed=self.setting.seed, key=decision.request_id
            )
        self.propensities.append(propensities_of(decision, last_round=last)[decision.arm_id])
        column = self.material.log.arm_ids.index(decision.arm_id)
        self.chosen.append(column)
        bill = Bill(usd_to_nusd(Decimal(repr(float(self.material.log.costs_usd[row, column])))))
        before = Outcome(decision.hold_nusd, decision.quote.expected_cost_nusd, expiry_charges=True)
        billed = apply_feedback(before, Feedback(bill=bill)).outcome
        rated = apply_feedback(billed, Feedback(reward=float(self.material.log.scores[row, column]))).outcome
        self.events += [(decision, before, billed), (decision, billed, rated)]
        self.purse.spent_nusd += bill.cost_nusd
        self.purse.decisions += 1

    def fold(self) -> None:
        for event in self.events:
            learn(self.state, *event)
        self.state.version += bool(self.events)
        self.events.clear()
        self.table = self.rebuilt()

    def resolve(self, query: Query) -> None:
        version, decisions = self.solved
        since = self.purse.decisions - decisions
        if self.table.model.version == version and since < min(SOLVE_EVERY, 1 + decisions):
            return
        recent = self.recent or [query]
        predictions = self.table.model.predict(np.array([sample.context for sample in recent]))
        tokens: FloatArray = np.array([sample.prompt_tokens for sample in recent], dtype=np.float64)
        reservoir = Reservoir(
            rewards=predictions.reward + self.table.model.alpha * predictions.deviation,
            costs_usd=self.table.costs_usd(predictions, tokens),
            expected_rewards=predictions.reward,
            deviations=predictions.deviation,
        )
        layer = self.exploration.near()
        self.price_per_usd = solve_price(
            reservoir,
            pace_usd=nusd_to_usd(self.purse.free_nusd) / max(1, len(self.order) - self.purse.decisions),
            weigh=lambda scores: layer(scores, scores, batch_normals(*scores.shape)),
            hint=self.price_per_usd,
        )
        self.solved = self.table.model.version, self.purse.decisions


def slices(count: int) -> Iterator[tuple[int, int]]:
    edges = np.linspace(0, count, SLICES + 1).astype(int).tolist()
    yield from pairwise(edges)


@pytest.mark.bench
@pytest.mark.timeout(1_800)
async def test_a_replay_takes_at_most_three_times_as_long_as_its_core_calls() -> None:
    material = synthetic(DECISIONS)
    setting = Setting(POLICIES["default"], BUDGET_USD, seed=0, learn_share=0.0)
    bare, replay = BareLoop(material, setting), Replay(material, setting, encoder_handle)
    await replay.begin()
    bare_s, replay_s = [], []
    for first, last in slices(DECISIONS):
        began_s = time.process_time()
        bare.run(first, last)
        between_s = time.process_time()
        await replay.advance(last)
        bare_s.append(between_s - began_s)
        replay_s.append(time.process_time() - between_s)
    result = await replay.finish()
    assert result.trace.chosen.tolist() == bare.chosen
    np.testing.assert_allclose(result.trace.propensities, bare.propensities, rtol=1e-12)
    ratio = sum(replay_s) / sum(bare_s)
    per_decision_us = 1e6 / DECISIONS
    print(
        f"\nreplay {sum(replay_s) * per_decision_us:.0f} µs a decision, bare core calls "
        f"{sum(bare_s) * per_decision_us:.0f} µs: {ratio:.2f} times as long"
    )
    assert ratio <= MOST
