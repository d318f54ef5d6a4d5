"""The replay itself: the recorded outcomes play the models, the product's services do everything else."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from decimal import Decimal

import numpy as np

from bandit_router.adapters.memory.clock import ManualClock
from bandit_router.adapters.memory.entropy import SeededEntropy
from bandit_router.adapters.memory.store import MemoryStore
from bandit_router.core.context import expected_prompt_tokens
from bandit_router.core.errors import BudgetExhausted
from bandit_router.core.money import TokenPrices, nusd_to_usd, parse_price, usd_to_nusd
from bandit_router.core.resources import Arm, Pool, Tenant, WindowKind, WindowRule
from bandit_router.service.assembly import Services, assemble
from bandit_router.service.contexts import EncoderSource
from bandit_router.service.learning import LEASE_MS
from bandit_router.service.messages import FeedbackRequest, RouteReply, RouteRequest, Usage
from bandit_router_sim.logs.full import FloatArray, FullLog, IndexArray
from bandit_router_sim.replay.order import learning_requests, order_of, random_of
from bandit_router_sim.replay.quiet import QuietObserver
from bandit_router_sim.replay.result import REFUSED, RunResult, Trace
from bandit_router_sim.replay.setting import Material, Setting

POOL_ID = "replay"
TENANT_ID = "replay"
DAY_S = 86_400
_BUSY_PART_OF_DAY = 0.9
_PART_OF_LEASE = 0.5


@dataclass(frozen=True, slots=True)
class _Report:
    """A report about a decision, to be sent when the request number `due` has been routed."""

    due: int
    request: FeedbackRequest


class Replay:
    """One replay under way."""

    def __init__(self, material: Material, setting: Setting, encoders: EncoderSource) -> None:
        self._material = material
        self._setting = setting
        self._random = random_of(setting.seed)
        self._order = order_of(len(material.log), self._random)
        self._observed = self._random.random(len(material.log)) < setting.reward_rate
        self._clock = ManualClock()
        self._store = MemoryStore(self._clock)
        self._services = assemble(
            self._store,
            clock=self._clock,
            entropy=SeededEntropy(setting.seed),
            encoders=encoders,
            observer=QuietObserver(),
        )
        self._reports: deque[_Report] = deque()
        self._late_reports: deque[_Report] = deque()
        self._trace = _empty_trace(self._order)
        self._columns = {arm_id: column for column, arm_id in enumerate(material.log.arm_ids)}
        self._prompt_tokens = prompt_tokens_of(material.log)
        self._learning = learning_requests(len(self._order), setting.learn_share)
        self._served = 0

    @property
    def services(self) -> Services:
        """The replica under test, for those who look into its stores afterwards."""
        return self._services

    async def run(self) -> RunResult:
        """Replay the whole log."""
        await self.begin()
        await self.advance(len(self._order))
        return await self.finish()

    async def begin(self) -> None:
        """Set the replica up; nothing has been asked yet."""
        await self._set_up(self._learning or len(self._order))

    async def advance(self, upto: int) -> None:
        """Serve the requests before number `upto` that have not been served."""
        count, learning = len(self._order), self._learning
        for number in range(self._served, upto):
            if number == learning and number:
                await self._begin_reported_stretch(count - learning)
            await self._serve(number)
            self._clock.jump(self._between_s(learning if number < learning else count - learning))
        self._served = max(upto, self._served)

    def _between_s(self, stretch: int) -> float:
        """Time between requests: the stretch fits in its day, and the learner comes back within its lease."""
        return min(DAY_S * _BUSY_PART_OF_DAY / stretch, _PART_OF_LEASE * LEASE_MS / 1000 / self._setting.fold_every)

    async def finish(self) -> RunResult:
        """The result, once all requests are served and all reports are in."""
        await self._send(self._reports, math.inf)
        await self._send(self._late_reports, math.inf)
        self._trace.is_reported[self._learning :] = True
        return RunResult(log_name=self._material.log.name, setting=self._setting, trace=self._trace)

    async def _set_up(self, first_stretch: int) -> None:
        policy, admin = self._setting.policy, self._services.admin
        await self._services.start()
        pool = Pool(
            pool_id=POOL_ID,
            encoder_id=f"vector:{self._material.embeddings.shape[1]}",
            dimension=policy.dimension,
            learner=policy.learner,
            exploration=policy.exploration,
            seed=self._setting.seed,
        )
        await admin.create_pool(pool, dry_run=False)
        for arm_id, pricing in self._material.prices.items():
            arm = Arm(
                arm_id=arm_id,
                prices=TokenPrices(
                    parse_price(pricing.input_usd_per_mtok),
                    parse_price(pricing.output_usd_per_mtok),
                    parse_price(pricing.input_usd_per_mtok),
                ),
                max_output_tokens=pricing.max_output_tokens,
            )
            await admin.put_arm(POOL_ID, arm, etag="", dry_run=False)
        await admin.create_tenant(
            Tenant(
                tenant_id=TENANT_ID,
                pool_id=POOL_ID,
                limit_nusd=self._limit_nusd(first_stretch),
                budget_policy=policy.budget_policy,
                window=WindowRule(kind=WindowKind.DAY),
                expected_calls=first_stretch,
                hold_ttl_s=20 * DAY_S,
            ),
            dry_run=False,
        )

    async def _begin_reported_stretch(self, requests: int) -> None:
        """The next day, with a limit for its own requests."""
        self._clock.jump(DAY_S - self._clock.now_ms() / 1000 % DAY_S)
        stored = await self._services.admin.get_tenant(TENANT_ID)
        limit_nusd = self._limit_nusd(requests)
        await self._services.budgets.set_limit(TENANT_ID, limit_nusd, reason="reported stretch", actor="replay")
        tenant = replace(stored.resource, expected_calls=requests, limit_nusd=limit_nusd)
        await self._services.admin.update_tenant(tenant, etag="", dry_run=False)

    def _limit_nusd(self, requests: int) -> int:
        return usd_to_nusd(Decimal(repr(self._setting.budget_usd)) * requests)

    async def _serve(self, number: int) -> None:
        row = int(self._order[number])
        reply = await self._route(number, row)
        if reply is not None:
            self._play(number, row, reply)
        await self._send(self._reports, number)
        await self._send(self._late_reports, number)
        if number % self._setting.fold_every == 0:
            await self._services.learner.step(POOL_ID)

    async def _route(self, number: int, row: int) -> RouteReply | None:
        request = RouteRequest(
            tenant_id=TENANT_ID,
            embedding=tuple(self._material.embeddings[row].tolist()),
            request_id=str(number),
            prompt_tokens=self._prompt_tokens[row],
        )
        try:
            return await self._services.route.route(request)
        except BudgetExhausted:
            return None

    def _play(self, number: int, row: int, reply: RouteReply) -> None:
        """Let the recorded outcome happen, and schedule what will be reported of it."""
        log, decision, trace = self._material.log, reply.decision, self._trace
        column = self._columns[decision.arm_id]
        reward, cost_usd = float(log.scores[row, column]), float(log.costs_usd[row, column])
        trace.chosen[number] = column
        trace.rewards[number] = reward
        trace.costs_usd[number] = cost_usd
        trace.prices_per_usd[number] = decision.price_per_usd
        trace.propensities[number] = reply.propensity
        trace.expected_rewards[number] = decision.quote.expected_reward
        trace.expected_costs_usd[number] = nusd_to_usd(decision.quote.expected_cost_nusd)
        usage = Usage(cost_nusd=usd_to_nusd(Decimal(repr(cost_usd))))
        bill = FeedbackRequest(TENANT_ID, decision.decision_id, usage=usage)
        self._reports.append(_Report(number + self._setting.bill_delay, bill))
        if self._observed[row]:
            rating = FeedbackRequest(TENANT_ID, decision.decision_id, reward=reward)
            self._late_reports.append(_Report(number + self._setting.reward_delay, rating))

    async def _send(self, reports: deque[_Report], upto: float) -> None:
        while reports and reports[0].due <= upto:
            await self._services.feedback.feedback(reports.popleft().request)


def prompt_tokens_of(log: FullLog) -> list[int]:
    """Tokens of every prompt: the log's count where it has one, else by the prompt's length."""
    first = np.isfinite(log.input_tokens).argmax(axis=1)
    counts = log.input_tokens[np.arange(len(log)), first].tolist()
    return [
        int(count) if math.isfinite(count) else expected_prompt_tokens(len(prompt.encode()))
        for count, prompt in zip(counts, log.prompts, strict=True)
    ]


def _empty_trace(order: IndexArray) -> Trace:
    count = len(order)

    def zeros() -> FloatArray:
        return np.zeros(count)

    return Trace(
        rows=order,
        chosen=np.full(count, REFUSED, dtype=np.int64),
        rewards=zeros(),
        costs_usd=zeros(),
        prices_per_usd=zeros(),
        propensities=zeros(),
        expected_rewards=np.full(count, np.nan),
        expected_costs_usd=np.full(count, np.nan),
        is_reported=np.zeros(count, dtype=np.bool_),
    )
