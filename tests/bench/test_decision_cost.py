"""What a decision costs beside ParetoBandit's `route()`: a ratio within one run, never a time.

The product's part is everything between a finished context and a drawn arm: predictions, exact bills and holds, scores,
exploration weights, the draw, and the price of money, solved as often as `replan` asks over a full reservoir. The
peer's part is its `route()` on the same vectors, with its budget pacer. Both have learned the same outcomes of eight
arms. They take turns, so that whatever else the machine does falls on both alike.

The median decision solves no price, one in SOLVE_EVERY does: so means are told, too.
"""

from __future__ import annotations

import logging
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from bandit_router.core.arm_table import ArmTable
from bandit_router.core.budget_policies.protocol import LinearCharge, PriceMark, Standing
from bandit_router.core.budget_policies.replan import SOLVE_EVERY, Replan
from bandit_router.core.choice import Query, candidates, draw_arm, quote_arms, weigh_round
from bandit_router.core.draw import uniform
from bandit_router.core.explorations.registry import parse_exploration
from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.model import build_model
from bandit_router.core.money import TokenPrices, parse_price, usd_to_nusd
from bandit_router.core.pool_state import ArmState, PoolState
from bandit_router.core.resources import DEFAULT_DIMENSION, DEFAULT_LEARNER, Arm, HoldPolicy, Pool
from bandit_router.ports.ledger import RECENT_CONTEXTS
from bandit_router.service.models import ServedPool
from bandit_router.service.reservoirs import Reservoirs, Sample
from bandit_router_sim.replay.setting import POLICIES

ARMS = 8
DIMENSION = DEFAULT_DIMENSION + 2
"""The default projection, the intercept and the prompt's length."""

OUTCOMES = 800
TURNS = 40
DECISIONS = 2 * SOLVE_EVERY
PROMPT_TOKENS = 120
BUDGET_USD = Decimal("0.001")
REPLAN = Replan()
MOST = 0.4

PRICES = [f"{price:.3f}" for price in np.geomspace(0.1, 20.0, ARMS)]
ARM_IDS = [f"arm{index}" for index in range(ARMS)]


class World:
    """Contexts, and rewards and answers' lengths of every arm, linear in the context with noise."""

    def __init__(self) -> None:
        random = np.random.Generator(np.random.PCG64(0))
        self.contexts = random.normal(size=(OUTCOMES, DIMENSION)) * 0.3
        self.contexts[:, 0] = 1.0
        self.chosen = random.integers(ARMS, size=OUTCOMES)
        taste = 0.05 * random.normal(size=(DIMENSION, ARMS))
        levels = np.linspace(0.6, 0.9, ARMS)
        noise = 0.1 * random.normal(size=(OUTCOMES, ARMS))
        self.rewards = np.clip(levels + self.contexts @ taste + noise, 0.0, 1.0)
        self.log_tokens = 5.5 + 0.5 * random.normal(size=(OUTCOMES, ARMS))


class Product:
    """The calls of a decision under the default policy, as the services make them.

    `renewed`: whether there is a new model at every solution of the price, so that no prediction can be kept.
    """

    def __init__(self, world: World, *, renewed: bool = False) -> None:
        policy = POLICIES["default"]
        state = PoolState(dimension=DIMENSION)
        for row, column in enumerate(world.chosen.tolist()):
            arm = state.arms.setdefault(ARM_IDS[column], ArmState.empty(DIMENSION))
            arm.reward.add(world.contexts[row], world.rewards[row, column])
            arm.tokens.add(world.contexts[row], world.log_tokens[row, column])
        prices = [TokenPrices(parse_price(price), parse_price(price), parse_price(price)) for price in PRICES]
        arms = [Arm(arm_id, price, 4096) for arm_id, price in zip(ARM_IDS, prices, strict=True)]
        self.served = ServedPool(
            pool=Pool("pool"),
            table=ArmTable.of(build_model(state, ARM_IDS, parse_learner(DEFAULT_LEARNER)), arms),
            exploration=parse_exploration(policy.exploration),
            revision=0,
        )
        self.renewed = renewed
        self.queries = [Query(context, PROMPT_TOKENS, PROMPT_TOKENS) for context in world.contexts]
        self.samples = [Sample.of(query) for query in self.queries]
        self.recent = deque(self.samples[:RECENT_CONTEXTS], maxlen=RECENT_CONTEXTS)
        self.reservoirs = Reservoirs()
        self.mark = PriceMark(0.0, 0, 0)
        self.decisions = 0
        self.chosen: list[int] = []

    def decide(self, number: int) -> None:
        """One decision, with its share of the price."""
        if self.decisions % SOLVE_EVERY == 0:
            self.solve()
        self.decisions += 1
        charge = LinearCharge(self.mark.price_per_usd)
        quotes = quote_arms(self.served.table, self.queries[number], charge=charge, hold_policy=HoldPolicy.WORST_CASE)
        draw = weigh_round(quotes, candidates(quotes), self.served.exploration, seed=0, key=str(number))
        self.chosen.append(draw_arm(draw, uniform(0, str(number))))
        self.recent.appendleft(self.samples[number])

    def solve(self) -> None:
        """The price over a full reservoir, at a pace of BUDGET_USD a call."""
        if self.renewed:
            self.served = replace(self.served)
        standing = Standing(
            limit_nusd=usd_to_nusd(BUDGET_USD),
            committed_nusd=0,
            decisions=self.decisions,
            calls_left=1.0,
            snapshot_version=0,
            reservoir=lambda: self.reservoirs.of("", self.recent, self.served),
            weigh=self.served.weigher(),
        )
        self.mark = REPLAN.solve(self.mark, standing)


def peer_of(world: World) -> Any:
    """ParetoBandit with the same arms and outcomes, its pacer on, for vectors made beforehand."""
    pytest.importorskip("pareto_bandit")
    from pareto_bandit.budget_pacer import BudgetPacer
    from pareto_bandit.feature_service import FeatureService
    from pareto_bandit.router import BanditRouter

    logging.getLogger("pareto_bandit").setLevel(logging.ERROR)
    registry = {
        arm_id: {"input_cost_per_m": float(price), "output_cost_per_m": float(price)}
        for arm_id, price in zip(ARM_IDS, PRICES, strict=True)
    }
    router = BanditRouter.create(
        model_registry=registry,
        priors="none",
        feature_service=FeatureService.for_precomputed(DIMENSION),
        bandit_seed=0,
        cost_penalty=0.0,
        budget_pacer=BudgetPacer(float(BUDGET_USD)),
    )
    for row, context in enumerate(np.roll(world.contexts, -1, axis=1)):
        arm_id, log = router.route(context)
        router.process_feedback(log.request_id, reward=float(world.rewards[row, ARM_IDS.index(arm_id)]))
    return router


def times_s(decide: Callable[[int], object], numbers: range) -> list[float]:
    """How long each decision took."""
    found = []
    for number in numbers:
        began_s = time.perf_counter()
        decide(number)
        found.append(time.perf_counter() - began_s)
    return found


def told(name: str, ours_s: Sequence[list[float]], theirs_s: Sequence[list[float]]) -> float:
    """The median over turns of the ratio of the turn's median decisions, which is printed beside that of its means."""
    found = {}
    for figure in (statistics.median, statistics.fmean):
        ours, theirs = [figure(turn) for turn in ours_s], [figure(turn) for turn in theirs_s]
        ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
        found[figure] = statistics.median(ratios)
        quarters = statistics.quantiles(ratios)
        ours_us, theirs_us = 1e6 * statistics.median(ours), 1e6 * statistics.median(theirs)
        print(
            f"\n{name}, by {figure.__name__}: {ours_us:.0f} µs, route() {theirs_us:.0f} µs: {found[figure]:.2f} of it "
            f"(quartiles {quarters[0]:.2f}, {quarters[2]:.2f}; {TURNS} turns of {DECISIONS})",
            end="",
        )
    return found[statistics.median]


@pytest.mark.bench
def test_the_median_decision_costs_at_most_two_fifths_of_paretobandits_route() -> None:
    world = World()
    product, renewed, peer = Product(world), Product(world, renewed=True), peer_of(world)
    contexts = list(np.roll(world.contexts, -1, axis=1))
    kept_s, renewed_s, theirs_s = [], [], []
    for turn in range(TURNS):
        first = turn * DECISIONS % (OUTCOMES - DECISIONS)
        numbers = range(first, first + DECISIONS)
        kept_s.append(times_s(product.decide, numbers))
        theirs_s.append(times_s(lambda number: peer.route(contexts[number]), numbers))
        renewed_s.append(times_s(renewed.decide, numbers))
    median = told("a decision", kept_s, theirs_s)
    told("a decision with a new model at every price", renewed_s, theirs_s)
    assert product.mark == renewed.mark
    assert product.mark.price_per_usd > 0.0
    assert len(set(product.chosen)) > 1
    assert median <= MOST
