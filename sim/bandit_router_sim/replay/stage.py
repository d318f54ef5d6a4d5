"""The replica that a replay runs on: its clock, pool, arms and tenants, and how they change on the way."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from bandit_router.adapters.memory.clock import ManualClock
from bandit_router.adapters.memory.entropy import SeededEntropy
from bandit_router.adapters.memory.store import MemoryStore
from bandit_router.core.money import usd_to_nusd
from bandit_router.core.resources import Arm, HoldPolicy, Pool, Tenant, WindowRule
from bandit_router.core.windows import window_at
from bandit_router.service.assembly import Services, assemble
from bandit_router.service.contexts import EncoderSource
from bandit_router.service.learning import LEASE_MS
from bandit_router.service.retention import Retention
from bandit_router.service.rules import MAX_DEFAULT_DEADLINE_S
from bandit_router_sim.replay.course import LEARNING, Course
from bandit_router_sim.replay.quiet import QuietObserver
from bandit_router_sim.replay.recorded import Recorded
from bandit_router_sim.replay.scenario import ArmChange, Change, PriceChange, QualityChange, ScenarioError, initial_arms
from bandit_router_sim.replay.setting import Material, Setting

POOL_ID = "replay"
_HOLD_TTL_S = 20 * 86_400
_BUSY_PART = 0.9
_PART_OF_LEASE = 0.5


class Stage:
    """One replica in memory, with the scenario's pool and tenants."""

    def __init__(
        self, material: Material, setting: Setting, course: Course, encoders: EncoderSource, retention: Retention
    ) -> None:
        self._material, self._setting, self._course = material, setting, course
        self._rule = WindowRule(kind=setting.scenario.window, carry_over=setting.scenario.carry_over)
        self._clock = ManualClock()
        self._between_s = 0.0
        self._onboarding_usd: dict[str, float] = {}
        self.recorded = Recorded(material)
        self.services: Services = assemble(
            MemoryStore(self._clock),
            clock=self._clock,
            entropy=SeededEntropy(setting.seed),
            encoders=encoders,
            observer=QuietObserver(),
            retention=retention,
        )

    async def set_up(self) -> None:
        """Pool, arms and tenants as they are before the first request."""
        await self.services.start()
        window = LEARNING if self._course.learning else 0
        self._between_s = self._time_between(window)
        await self.services.admin.create_pool(self._pool(), dry_run=False)
        requests = len(self._course.rows) - self._course.learning
        for arm_id in initial_arms(self._setting.scenario, self._material.log.arm_ids, requests=requests):
            await self._put(self.recorded.arm(arm_id))
        for index in range(len(self._setting.scenario.tenants)):
            await self.services.admin.create_tenant(self._tenant(index, window), dry_run=False)

    async def open_window(self, window: int) -> None:
        """Go on to the next budget window. The first reported one sets the limit that they open with, if it is one."""
        end_ms = window_at(self._rule, self._clock.now_ms()).end_ms
        assert end_ms is not None
        self._clock.jump((end_ms - self._clock.now_ms()) / 1000)
        for index in range(len(self._setting.scenario.tenants)):
            tenant = self._tenant(index, window)
            if window == 0 or self._setting.scenario.money_by_window:
                await self.services.budgets.set_limit(
                    tenant.tenant_id, tenant.limit_nusd, reason="reported stretch", actor="replay"
                )
            await self.services.admin.update_tenant(tenant, etag="", dry_run=False)
        self._between_s = self._time_between(window)
        if self._setting.scenario.default_reward is not None:
            await self.services.admin.update_pool(self._pool(), etag="", dry_run=False)

    def pass_time(self) -> None:
        """The time between two requests."""
        self._clock.jump(self._between_s)

    async def apply(self, change: Change) -> None:
        """Let a change happen."""
        if isinstance(change, QualityChange):
            self.recorded.change_quality(change)
        elif isinstance(change, PriceChange):
            self.recorded.change_price(change)
            for arm in self.services.directory.arms(POOL_ID):
                if arm.arm_id == change.arm_id:
                    await self._put(self.recorded.arm(arm.arm_id, draining=arm.draining))
        else:
            await self._move(change)
        await self.services.directory.refresh()

    async def _move(self, change: ArmChange) -> None:
        if change.change == "remove":
            await self.services.admin.remove_arm(POOL_ID, change.arm_id, etag="", dry_run=False)
        else:
            if change.change == "add":
                self._onboarding_usd[change.arm_id] = change.onboarding_usd
            await self._put(self.recorded.arm(change.arm_id, draining=change.change == "drain"))

    async def _put(self, arm: Arm) -> None:
        quota_nusd = usd_to_nusd(Decimal(repr(float(self._onboarding_usd.get(arm.arm_id, 0.0)))))
        await self.services.admin.put_arm(POOL_ID, replace(arm, onboarding_nusd=quota_nusd), etag="", dry_run=False)

    def _pool(self) -> Pool:
        """The pool as it is configured at the present pace of requests. Raises ScenarioError."""
        policy, scenario = self._setting.policy, self._setting.scenario
        deadline_s = scenario.default_reward_after * self._between_s
        if deadline_s > MAX_DEFAULT_DEADLINE_S:
            raise ScenarioError(f"default_reward_after: takes more than {MAX_DEFAULT_DEADLINE_S:g} s at this pace")
        return Pool(
            pool_id=POOL_ID,
            encoder_id=f"vector:{self._material.embeddings.shape[1]}",
            dimension=policy.dimension,
            learner=policy.learner,
            exploration=policy.exploration,
            seed=self._setting.seed,
            default_reward=scenario.default_reward,
            default_reward_deadline_s=deadline_s,
        )

    def _tenant(self, index: int, window: int) -> Tenant:
        """The tenant as it is configured during a window."""
        policy, scenario = self._setting.policy, self._setting.scenario
        return Tenant(
            tenant_id=scenario.tenants[index].tenant_id,
            pool_id=POOL_ID,
            limit_nusd=self._limit_nusd(index, window),
            budget_policy=policy.budget_policy,
            window=self._rule,
            expected_calls=self._course.requests_of(index, window) if scenario.declare_demand else 0,
            hold_policy=HoldPolicy(policy.hold_policy),
            hold_ttl_s=_HOLD_TTL_S,
        )

    def _limit_nusd(self, index: int, window: int) -> int:
        """Of the learning stretch by its requests; of every reported window its part of the whole."""
        scenario, course = self._setting.scenario, self._course
        share, windows = scenario.tenants[index], scenario.windows
        reported = sum(course.requests_of(index, number) for number in range(windows))
        if share.limit_usd is not None:
            whole_usd = Decimal(repr(share.limit_usd)) * windows
            learning_usd = whole_usd * course.requests_of(index, LEARNING) / max(1, reported)
        else:
            budget_usd = Decimal(repr(share.budget_usd or self._setting.budget_usd))
            whole_usd, learning_usd = budget_usd * reported, budget_usd * course.requests_of(index, LEARNING)
        if window == LEARNING:
            return usd_to_nusd(learning_usd)
        if scenario.money_by_window:
            return usd_to_nusd(whole_usd * Decimal(repr(scenario.money_by_window[window])))
        return usd_to_nusd(whole_usd / windows)

    def _time_between(self, window: int) -> float:
        """Seconds: all requests fit into the window, and the learner comes back within its lease.

        Where demand is forecast from the clock, they are spread evenly over the window.
        """
        now_ms = self._clock.now_ms()
        end_ms = window_at(self._rule, now_ms).end_ms
        assert end_ms is not None
        requests = int((self._course.windows == window).sum())
        even_s = _BUSY_PART * (end_ms - now_ms) / 1000 / max(1, requests)
        lease_s = _PART_OF_LEASE * LEASE_MS / 1000 / self._setting.fold_every
        return min(even_s, lease_s) if self._setting.scenario.declare_demand else even_s
