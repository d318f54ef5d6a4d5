"""The operators and the machinery: edits of arms, tenants and budgets, background loops, crashes, outages, time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from bandit_router.core.errors import RouterError
from bandit_router.core.resources import Arm, ExpiryPolicy, Pool, Tenant
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router_sim.world.acts import Act, ActKind
from bandit_router_sim.world.clients import Account, Clients
from bandit_router_sim.world.founding import change_arm, make_arm, make_pool, make_tenant, make_window
from bandit_router_sim.world.scheduler import turn
from bandit_router_sim.world.stage import Replica, Stage

Step = Callable[[], Awaitable[object]]

_LEAPS_S = {0.05: 5.0, 1.0: 6.0, 4.0: 6.0, 40.0: 3.0, 700.0: 2.0, 4_000.0: 1.0, 90_000.0: 0.4, 700_000.0: 0.15}
_LONG_S = 80_000.0
_TURNS_BEFORE_A_LONG_LEAP = 150
_MAX_ARMS = 6


class Operators:
    """Whoever is not an application."""

    def __init__(self, stage: Stage, clients: Clients) -> None:
        self._stage = stage
        self._clients = clients
        self._pools: dict[str, dict[str, Arm]] = {}
        self._founded = 0
        self._edits = 0

    # Replicas

    def open_replica(self) -> Replica:
        """A new replica that begins to start."""
        name = f"r{len(self._stage.replicas)}"
        replica = Replica(name, self._stage.make_services(name, 0))
        self._stage.replicas.append(replica)
        self._start(replica)
        return replica

    def crash(self, replica: Replica) -> None:
        """The replica loses everything in memory; calls on their way may still arrive. It starts again at once."""
        killed = self._stage.scheduler.kill(replica.name)
        who = f"{replica.name}.{replica.life}"
        self._stage.trace.add(f"{self._stage.clock.now_ms()} {who} dies with {len(killed)} acts")
        self._rebirth(replica)

    def stop(self, replica: Replica) -> None:
        """The replica gives up its leases and starts again."""
        act = self._stage.begin(ActKind.STOP, "", replica)
        replica.is_ready = False
        self._stage.spawn(act, self._stop(act, replica))

    def loop(self, replica: Replica, kind: ActKind) -> None:
        """One turn of a background loop, unless the last one is still under way."""
        if kind.value in replica.busy:
            return
        services = replica.services
        steps: dict[ActKind, Step] = {
            ActKind.REFRESH: services.refresh,
            ActKind.LEARN: services.learner.step_all,
            ActKind.SWEEP: services.sweeper.sweep,
            ActKind.ASSUME: services.defaults.assume,
        }
        replica.busy.append(kind.value)
        act = self._stage.begin(kind, "", replica)
        self._stage.spawn(act, self._loop(act, replica, steps[kind]))

    async def _loop(self, act: Act, replica: Replica, step: Step) -> None:
        try:
            result = await step()
        except StoreUnavailable:
            self._stage.tell(act, "away")
        else:
            self._stage.tell(act, str(result))
            if act.kind is ActKind.REFRESH:
                replica.view = max(replica.view, act.seen_version)
        replica.busy.remove(act.kind.value)

    async def _stop(self, act: Act, replica: Replica) -> None:
        try:
            await replica.services.close()
        except StoreUnavailable:
            self._stage.tell(act, "away")
        act.replica = ""  # the dead do not kill themselves
        self.crash(replica)

    def _rebirth(self, replica: Replica) -> None:
        replica.life += 1
        replica.services = self._stage.make_services(replica.name, replica.life)
        replica.is_ready, replica.view = False, 0
        replica.busy.clear()
        self._start(replica)

    def _start(self, replica: Replica) -> None:
        act = self._stage.begin(ActKind.START, "", replica)
        self._stage.spawn(act, self._begin_service(act, replica))

    async def _begin_service(self, act: Act, replica: Replica) -> None:
        while not replica.is_ready:
            try:
                await replica.services.start()
            except StoreUnavailable:
                await turn()
            else:
                replica.view, replica.is_ready = act.seen_version, True
        self._stage.tell(act, f"at {replica.view}")

    # Resources

    def found_pool(self, replica: Replica) -> None:
        """A pool with its arms and a first tenant."""
        dice, pool_id = self._stage.dice, f"p{len(self._pools)}"
        pool = make_pool(dice, pool_id)
        arms = [make_arm(dice, f"{pool_id}-m{number}") for number in range(dice.between(2, 5))]
        self._pools[pool_id] = {arm.arm_id: arm for arm in arms}
        tenant = self._new_tenant(pool_id)
        act = self._stage.begin(ActKind.ADMIN, f"found {pool_id}", replica)
        self._stage.spawn(act, self._found(act, replica, pool, arms, tenant))

    def found_tenant(self, replica: Replica) -> None:
        """One more tenant of a pool that has one."""
        account = self._stage.dice.pick(self._clients.memory.accounts)
        tenant = self._new_tenant(account.pool.pool_id)
        if self._stage.dice.chance(0.6) and not account.tenant.parent_tenant_id:
            parent_id = account.tenant.tenant_id
            tenant = replace(tenant, tenant_id=f"{parent_id}/{tenant.tenant_id}", parent_tenant_id=parent_id)
        act = self._stage.begin(ActKind.ADMIN, f"found {tenant.tenant_id}", replica)
        self._stage.spawn(act, self._found_tenant(act, replica, tenant, account.pool, account.arm_ids))

    def _new_tenant(self, pool_id: str) -> Tenant:
        name = f"t{self._founded}"
        self._founded += 1
        return make_tenant(self._stage.dice, name, pool_id, tuple(self._pools[pool_id].values()))

    async def _found(self, act: Act, replica: Replica, pool: Pool, arms: list[Arm], tenant: Tenant) -> None:
        admin = replica.services.admin
        await self._insist(act, replica, lambda: admin.create_pool(pool, dry_run=False))
        for arm in arms:
            await self._insist(act, replica, lambda arm=arm: admin.put_arm(pool.pool_id, arm, etag="", dry_run=False))  # type: ignore[misc]
        await self._found_tenant(act, replica, tenant, pool, [arm.arm_id for arm in arms])

    async def _found_tenant(self, act: Act, replica: Replica, tenant: Tenant, pool: Pool, arm_ids: list[str]) -> None:
        if await self._insist(act, replica, lambda: replica.services.admin.create_tenant(tenant, dry_run=False)):
            self._stage.watch.books.founded.add(tenant.tenant_id)
            self._clients.memory.accounts.append(Account(tenant, pool, arm_ids))

    def change_arm(self, replica: Replica) -> None:
        """An arm is repriced, switched, removed or added."""
        dice = self._stage.dice
        account = dice.pick(self._clients.memory.accounts)
        pool_id, arms = account.pool.pool_id, self._pools[account.pool.pool_id]
        admin, arm_id = replica.services.admin, dice.pick(account.arm_ids)
        if arm_id in arms and len(arms) > 1 and dice.chance(0.2):
            del arms[arm_id]
            self._edit(replica, f"remove {arm_id}", lambda: admin.remove_arm(pool_id, arm_id, etag="", dry_run=False))
            return
        if dice.chance(0.25) and len(account.arm_ids) < _MAX_ARMS:
            arm_id = f"{pool_id}-m{len(account.arm_ids)}"
            account.arm_ids.append(arm_id)
        arm = change_arm(dice, arms[arm_id]) if arm_id in arms else make_arm(dice, arm_id)
        arms[arm_id] = arm
        self._edit(replica, f"put {arm_id}", lambda: admin.put_arm(pool_id, arm, etag="", dry_run=False))

    def change_tenant(self, replica: Replica) -> None:
        """A tenant gets another window, time limit or expiry; or its pool stops or resumes learning."""
        dice, admin = self._stage.dice, replica.services.admin
        account = dice.pick(self._clients.memory.accounts)
        if dice.chance(0.4):
            is_frozen, pool_id = dice.chance(0.3), account.pool.pool_id
            self._edit(replica, f"freeze {pool_id}", lambda: admin.freeze_learning(pool_id, frozen=is_frozen))
            return
        limit_nusd = self._stage.watch.books.purses[account.tenant.tenant_id].base_limit_nusd
        tenant = replace(account.tenant, limit_nusd=limit_nusd, fallback_arm_id="")
        account.tenant = dice.pick(
            (
                replace(tenant, window=make_window(dice)),
                replace(tenant, hold_ttl_s=dice.pick((1.0, 100.0, 5_000.0)), isolated=dice.chance(0.2)),
                replace(tenant, expiry_policy=dice.pick(tuple(ExpiryPolicy)), shadow=dice.chance(0.3)),
            )
        )
        updated = account.tenant
        self._edit(replica, f"update {tenant.tenant_id}", lambda: admin.update_tenant(updated, etag="", dry_run=False))

    def edit_budget(self, replica: Replica) -> None:
        """A limit is raised or lowered, maybe below what is gone; money is granted; spend is written off; or a look."""
        dice, budgets = self._stage.dice, replica.services.budgets
        tenant = dice.pick(self._clients.memory.accounts).tenant
        limit_nusd, tenant_id = self._stage.watch.books.purses[tenant.tenant_id].base_limit_nusd, tenant.tenant_id
        amount_nusd = dice.pick((0, limit_nusd // 3, limit_nusd + 1, limit_nusd * 2, 2**53, 2**53 + 1))
        self._edits += 1
        why, who, once = "test", "world", f"edit {self._edits}"
        steps: dict[str, tuple[float, Step]] = {
            "limit": (4.0, lambda: budgets.set_limit(tenant_id, min(amount_nusd, 10**12), reason=why, actor=who)),
            "most": (0.2, lambda: budgets.set_limit(tenant_id, amount_nusd, reason=why, actor=who)),
            "grant": (2.0, lambda: budgets.grant(tenant_id, limit_nusd // 4 + 1, reason=why, actor=who)),
            "grant once": (
                1.0,
                lambda: budgets.grant(tenant_id, limit_nusd // 5 + 1, reason=why, actor=who, edit_id=once),
            ),
            "reset": (1.0, lambda: budgets.reset(tenant_id, reason=why, actor=who)),
            "rehearse": (0.5, lambda: budgets.reset(tenant_id, reason=why, actor=who, dry_run=True)),
            "get": (1.0, lambda: budgets.get(tenant_id)),
            "show": (0.5, lambda: replica.services.admin.get_tenant(tenant_id)),
        }
        word = dice.weighted({word: weight for word, (weight, _) in steps.items()})
        act = self._stage.begin(ActKind.BUDGET, f"{word} {tenant_id}", replica)
        run = self._until_answered if word == "grant once" else self._once
        self._stage.spawn(act, run(act, replica, steps[word][1]))

    def _edit(self, replica: Replica, what: str, step: Step) -> None:
        act = self._stage.begin(ActKind.ADMIN, what, replica)
        self._stage.spawn(act, self._once(act, replica, step))

    async def _once(self, act: Act, replica: Replica, step: Step) -> None:
        """Do it; whether it is done is another question."""
        try:
            await step()
        except (RouterError, StoreUnavailable) as error:
            self._stage.tell(act, type(error).__name__)
        else:
            self._done(act, replica)

    async def _until_answered(self, act: Act, replica: Replica, step: Step) -> None:
        await self._insist(act, replica, step)

    async def _insist(self, act: Act, replica: Replica, step: Step) -> bool:
        """Repeat until it is done, which an earlier attempt may have seen to."""
        while True:
            try:
                await step()
            except StoreUnavailable:
                act.seen_version = 0  # what this attempt has read of the catalog was not taken over
                await turn()
            except RouterError as error:
                self._stage.tell(act, error.reason)
                return error.code == "ALREADY_EXISTS"
            else:
                self._done(act, replica)
                return True

    def _done(self, act: Act, replica: Replica) -> None:
        """Whoever changes the catalog takes over all changes before it answers."""
        replica.view = max(replica.view, act.seen_version)
        self._stage.tell(act, f"done, at {replica.view}")

    # Weather

    def outage(self) -> None:
        """The store goes away, or comes back."""
        network = self._stage.network
        network.is_down = not network.is_down
        self._stage.trace.add(f"{self._stage.clock.now_ms()} store down: {network.is_down}")

    def leap(self) -> None:
        """Time moves on. Nothing is on its way for days: before a long leap all must come to an end by itself."""
        dice, scheduler = self._stage.dice, self._stage.scheduler
        seconds = dice.weighted(_LEAPS_S)
        if seconds > _LONG_S:
            for _ in range(_TURNS_BEFORE_A_LONG_LEAP):
                scheduler.step()
            self._stage.network.arrive()
            if len(scheduler):
                return
        self._stage.clock.jump(seconds * (0.5 + dice.uniform()))
        self._stage.trace.add(f"{self._stage.clock.now_ms()} is the time")
