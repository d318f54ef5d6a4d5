"""ParetoBandit under a scenario: the same order, outcomes and budget as a replay, told of changes by its own functions.

A new price is `update_model_pricing`, a new arm `register_model`, both as its documentation says; a silent change of
quality is told to nobody. Nothing is held before a call: a choice whose bill does not fit in the money left of the
window is refused, and nothing is learned from it. Its pacer aims at the budget per request and knows no windows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from bandit_router.core.money import NUSD_PER_USD, usd_to_nusd
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.peers.paretobandit import ParetoBandit, registry_of
from bandit_router_sim.peers.protocol import Offer, Request
from bandit_router_sim.replay.course import LEARNING, course_of
from bandit_router_sim.replay.engine import empty_trace
from bandit_router_sim.replay.recorded import Recorded
from bandit_router_sim.replay.result import RunResult
from bandit_router_sim.replay.scenario import (
    ArmChange,
    Change,
    PriceChange,
    QualityChange,
    Scenario,
    ScenarioError,
    initial_arms,
)
from bandit_router_sim.replay.setting import Material, Setting

_PRICES = ("input_cost_per_m", "output_cost_per_m")


class ChangingParetoBandit(ParetoBandit):
    """The package's router, started with the arms `present` of the offer, with what its owner tells it later on."""

    def __init__(self, offer: Offer, present: list[str], *, warm: bool) -> None:
        columns = [offer.arm_ids.index(arm_id) for arm_id in present]
        known = replace(offer, arm_ids=tuple(present), typical_cost_usd=offer.typical_cost_usd[columns])
        super().__init__(known, warm=warm)
        self._columns = {arm_id: column for column, arm_id in enumerate(offer.arm_ids)}
        self._usual = {arm_id: {name: entry[name] for name in _PRICES} for arm_id, entry in registry_of(offer).items()}

    def register(self, arm_id: str, *, price_factor: float) -> None:
        """A new arm, at a multiple of its usual prices."""
        self._router.register_model(arm_id, **self._priced(arm_id, price_factor))

    def reprice(self, arm_id: str, *, price_factor: float) -> None:
        """New prices of an arm, as a multiple of its usual ones; of an arm that is not there yet, none."""
        if arm_id in self._router.registry:
            self._router.update_model_pricing(arm_id, **self._priced(arm_id, price_factor))

    def price_of(self, arm_id: str) -> float:
        """USD per million output tokens that the router reckons with now."""
        return float(self._router.registry[arm_id][_PRICES[1]])

    def _priced(self, arm_id: str, price_factor: float) -> dict[str, float]:
        return {name: price_factor * usual for name, usual in self._usual[arm_id].items()}


class PeerReplay:
    """One run of ParetoBandit over a setting; of its policy only the name is read. Without `hard` nothing is refused.

    `contexts` (n, d) by the log's rows, intercept first. Raises ScenarioError for scenarios with anything but changes
    of prices and quality and arms that join.
    """

    def __init__(
        self, material: Material, setting: Setting, contexts: FloatArray, *, warm: bool, hard: bool = True
    ) -> None:
        _check(setting.scenario)
        self._material, self._setting, self._contexts, self._hard = material, setting, contexts, hard
        self._course = course_of(material.log, setting)
        self._recorded = Recorded(material)
        self._trace = empty_trace(self._course)
        self._changes = deque(self._course.changes)
        self._left_nusd = 0
        reported = len(self._course.rows) - self._course.learning
        present = initial_arms(setting.scenario, material.log.arm_ids, requests=reported)
        self.peer = ChangingParetoBandit(self._offer(), present, warm=warm)

    def run(self) -> RunResult:
        """Ask for every request in order."""
        windows = self._course.windows.tolist()
        for number, row in enumerate(self._course.rows.tolist()):
            if number == 0 or windows[number] != windows[number - 1]:
                self._left_nusd = self._limit_nusd(windows[number])
            while self._changes and self._changes[0][0] <= number:
                self._apply(self._changes.popleft()[1])
            self._serve(number, row)
        log = self._material.log
        return RunResult(log_name=log.name, arm_ids=log.arm_ids, setting=self._setting, trace=self._trace)

    def _limit_nusd(self, window: int) -> int:
        """Of the learning stretch by its requests; of every reported window an equal part, as the product's."""
        learning = self._course.learning
        reported = (len(self._course.rows) - learning) / self._setting.scenario.windows
        requests = learning if window == LEARNING else reported
        return round(self._setting.budget_usd * requests * NUSD_PER_USD)

    def _serve(self, number: int, row: int) -> None:
        request = Request(number, row, self._contexts[row], self._material.log.prompts[row])
        column = self.peer.choose(request)
        arm_id = self._material.log.arm_ids[column]
        reward, cost_usd = self._recorded.reward(row, arm_id), self._recorded.cost_usd(row, arm_id)
        bill_nusd = usd_to_nusd(cost_usd)
        if self._hard and bill_nusd > self._left_nusd:
            return
        self._left_nusd -= bill_nusd
        self._trace.chosen[number] = column
        self._trace.rewards[number] = reward
        self._trace.costs_usd[number] = float(cost_usd)
        self.peer.learn(request, column, reward=reward, cost_usd=float(cost_usd))

    def _apply(self, change: Change) -> None:
        if isinstance(change, QualityChange):
            self._recorded.change_quality(change)
            return
        if isinstance(change, PriceChange):
            self._recorded.change_price(change)
        factor = float(self._recorded.price_factor(change.arm_id))
        told = self.peer.reprice if isinstance(change, PriceChange) else self.peer.register
        told(change.arm_id, price_factor=factor)

    def _offer(self) -> Offer:
        """As peers get it everywhere: an arm's typical cost is its mean over the learning stretch."""
        log, known = self._material.log, self._course.rows[: self._course.learning]
        return Offer(
            arm_ids=log.arm_ids,
            typical_cost_usd=np.mean(log.costs_usd[known] if len(known) else log.costs_usd, axis=0),
            dimension=self._contexts.shape[1],
            budget_usd=self._setting.budget_usd,
            seed=self._setting.seed,
        )


def _check(scenario: Scenario) -> None:
    told = {name: getattr(scenario, name) for name in ("name", "changes", "traffic", "windows")}
    if scenario != replace(Scenario(), **told):
        raise ScenarioError("a peer has one tenant and windows of equal money, and hears of everything at once")
    for change in scenario.changes:
        if isinstance(change, ArmChange) and change.change != "add":
            raise ScenarioError(f"changes: a peer is not told to {change.change} an arm")
