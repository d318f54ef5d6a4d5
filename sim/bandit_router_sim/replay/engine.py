"""The replay itself: the recorded outcomes play the models, the product's services do everything else."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from bandit_router.core.context import expected_prompt_tokens
from bandit_router.core.errors import BudgetExhausted, NoFeasibleArm
from bandit_router.core.money import nusd_to_usd, usd_to_nusd
from bandit_router.service.assembly import Services
from bandit_router.service.contexts import EncoderSource
from bandit_router.service.messages import FeedbackRequest, RouteReply, RouteRequest, Usage
from bandit_router.service.retention import DEFAULT_RETENTION, Retention
from bandit_router_sim.logs.full import FloatArray, FullLog
from bandit_router_sim.replay.course import Course, course_of
from bandit_router_sim.replay.result import REFUSED, RunResult, Trace
from bandit_router_sim.replay.setting import Material, Setting
from bandit_router_sim.replay.stage import POOL_ID, Stage


@dataclass(frozen=True, slots=True)
class _Report:
    """A report about a decision, to be sent when the request number `due` has been routed."""

    due: int
    request: FeedbackRequest


class Replay:
    """One replay under way, of a pool that may start with a prior.

    Raises ScenarioError if the setting's scenario does not fit the log.
    """

    def __init__(
        self,
        material: Material,
        setting: Setting,
        encoders: EncoderSource,
        retention: Retention = DEFAULT_RETENTION,
        *,
        prior: bytes | None = None,
    ) -> None:
        self._material = material
        self._prior = prior
        self._setting = setting
        self._course = course_of(material.log, setting)
        self._stage = Stage(material, setting, self._course, encoders, retention)
        self._reports: deque[_Report] = deque()
        self._late_reports: deque[_Report] = deque()
        self._changes = deque(self._course.changes)
        self._trace = empty_trace(self._course)
        self._prompt_tokens = prompt_tokens_of(material.log)
        self._rows: list[int] = self._course.rows.tolist()
        self._windows: list[int] = self._course.windows.tolist()
        names = [tenant.tenant_id for tenant in setting.scenario.tenants]
        self._tenant_ids = [names[index] for index in self._course.tenants.tolist()]
        self._served = 0

    @property
    def services(self) -> Services:
        """The replica under test, for those who look into its stores afterwards."""
        return self._stage.services

    async def run(self) -> RunResult:
        """Replay the whole log."""
        await self.begin()
        await self.advance(len(self._rows))
        return await self.finish()

    async def begin(self) -> None:
        """Set the replica up, with its prior; nothing has been asked yet."""
        await self._stage.set_up()
        if self._prior is not None:
            await self.services.priors.import_prior(POOL_ID, self._prior, dry_run=False)

    async def advance(self, upto: int) -> None:
        """Serve the requests before number `upto` that have not been served."""
        for number in range(self._served, upto):
            if number and self._windows[number] != self._windows[number - 1]:
                await self._stage.open_window(self._windows[number])
            while self._changes and self._changes[0][0] <= number:
                await self._stage.apply(self._changes.popleft()[1])
            await self._serve(number)
            self._stage.pass_time()
        self._served = max(upto, self._served)

    async def finish(self) -> RunResult:
        """The result, once all requests are served and all reports are in."""
        await self._send(self._reports, math.inf)
        await self._send(self._late_reports, math.inf)
        log = self._material.log
        return RunResult(log_name=log.name, arm_ids=log.arm_ids, setting=self._setting, trace=self._trace)

    async def _serve(self, number: int) -> None:
        row = self._rows[number]
        reply = await self._route(number, row)
        if reply is not None:
            self._play(number, row, reply)
        await self._send(self._reports, number)
        await self._send(self._late_reports, number)
        if number % self._setting.fold_every == 0:
            if self._setting.scenario.default_reward is not None:
                await self._stage.services.defaults.assume()
            await self._stage.services.learner.step(POOL_ID)

    async def _route(self, number: int, row: int) -> RouteReply | None:
        request = RouteRequest(
            tenant_id=self._tenant_ids[number],
            embedding=tuple(self._material.embeddings[row].tolist()),
            request_id=str(number),
            prompt_tokens=self._prompt_tokens[row],
        )
        try:
            return await self._stage.services.route.route(request)
        except (BudgetExhausted, NoFeasibleArm):
            return None

    def _play(self, number: int, row: int, reply: RouteReply) -> None:
        """Let the recorded outcome happen, and schedule what will be reported of it."""
        recorded, decision, trace = self._stage.recorded, reply.decision, self._trace
        reward, cost_usd = recorded.reward(row, decision.arm_id), recorded.cost_usd(row, decision.arm_id)
        trace.chosen[number] = recorded.column(decision.arm_id)
        trace.rewards[number] = reward
        trace.costs_usd[number] = float(cost_usd)
        trace.prices_per_usd[number] = decision.price_per_usd
        trace.propensities[number] = reply.propensity
        trace.expected_rewards[number] = decision.quote.expected_reward
        trace.expected_costs_usd[number] = nusd_to_usd(decision.quote.expected_cost_nusd)
        tenant_id, scenario = decision.tenant_id, self._setting.scenario
        usage = Usage(cost_nusd=usd_to_nusd(cost_usd))
        bill = FeedbackRequest(tenant_id, decision.decision_id, usage=usage)
        self._reports.append(_Report(number + scenario.bill_delay, bill))
        if self._course.is_rated[row]:
            rating = FeedbackRequest(tenant_id, decision.decision_id, reward=reward)
            self._late_reports.append(_Report(number + scenario.reward_delay, rating))

    async def _send(self, reports: deque[_Report], upto: float) -> None:
        while reports and reports[0].due <= upto:
            await self._stage.services.feedback.feedback(reports.popleft().request)


def prompt_tokens_of(log: FullLog) -> list[int]:
    """Tokens of every prompt: the log's count where it has one, else by the prompt's length."""
    first = np.isfinite(log.input_tokens).argmax(axis=1)
    counts = log.input_tokens[np.arange(len(log)), first].tolist()
    return [
        int(count) if math.isfinite(count) else expected_prompt_tokens(len(prompt.encode()))
        for count, prompt in zip(counts, log.prompts, strict=True)
    ]


def empty_trace(course: Course) -> Trace:
    """The trace of a course on which nobody has been served yet."""
    count = len(course.rows)

    def zeros() -> FloatArray:
        return np.zeros(count)

    return Trace(
        rows=course.rows,
        chosen=np.full(count, REFUSED, dtype=np.int64),
        rewards=zeros(),
        costs_usd=zeros(),
        prices_per_usd=zeros(),
        propensities=zeros(),
        expected_rewards=np.full(count, np.nan),
        expected_costs_usd=np.full(count, np.nan),
        is_reported=np.arange(count) >= course.learning,
        money_usd=course.money_usd,
        tenants=course.tenants,
        windows=course.windows,
        phases=course.phases,
    )
