"""How a world ends: faults stop, everything on its way arrives, time passes, and then the sums must come out."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from bandit_router.core.learners.registry import parse_learner
from bandit_router.core.pool_codec import decode_pool_state
from bandit_router.core.resources import Pool
from bandit_router.ports.catalog import Kind
from bandit_router.ports.ledger import AuditEntry
from bandit_router.ports.snapshots import Snapshot
from bandit_router_sim.world.acts import Act, ActKind
from bandit_router_sim.world.clients import Clients
from bandit_router_sim.world.expectations import default_due_ms
from bandit_router_sim.world.failure import Violation
from bandit_router_sim.world.network import at_once
from bandit_router_sim.world.operators import Operators
from bandit_router_sim.world.stage import Replica, Stage

_AFTER_LEASES_S = 10.0
_RETRIES = 12
_MAX_SWEEPS = 20


class Rest:
    """The last checks, on a store that nobody disturbs any more."""

    def __init__(self, stage: Stage, clients: Clients, operators: Operators) -> None:
        self._stage, self._clients, self._operators = stage, clients, operators

    def check(self) -> None:
        """Bring the world to rest and check what must then be so. Raises Violation."""
        stage = self._stage
        stage.network.rest()
        stage.scheduler.drain()
        self._everywhere(ActKind.REFRESH)
        self._check_directories()
        self._ask_again()
        self._expire_all()
        self._assume_all()
        self._learn_all()
        self._everywhere(ActKind.REFRESH)
        self._check_learned()
        self._check_audits()
        stage.watch.check_accounts()

    def _everywhere(self, kind: ActKind) -> None:
        for replica in self._stage.replicas:
            self._operators.loop(replica, kind)
        self._stage.scheduler.drain()

    def _check_directories(self) -> None:
        """Every replica that has taken over all changes sees the catalog as it is."""
        views = self._stage.watch.views
        for replica in self._stage.replicas:
            directory = replica.services.directory
            for (kind, key), versions in views.history.items():
                latest, pool_id = versions[-1][1], key.partition(" ")[0]
                found: object = None
                if kind is Kind.ARM:
                    found = next((arm for arm in directory.arms(pool_id) if f"{pool_id} {arm.arm_id}" == key), None)
                elif kind is Kind.POOL:
                    found = self._now(directory.pool(key))
                else:
                    found = self._now(directory.tenant(key))
                if found != latest:
                    raise Violation(f"{replica.name} still sees {found}, the catalog has {latest}")

    def _now(self, call: Coroutine[Any, Any, object]) -> object:
        """The answer of a call on a replica that need not wait for anybody."""
        self._stage.scheduler.current = Act(ActKind.REFRESH, "look", "")
        try:
            while True:
                call.send(None)
        except StopIteration as end:
            return end.value
        finally:
            self._stage.scheduler.current = None

    def _ask_again(self) -> None:
        """Requests that were ever sent get the decision they have; `Clients` and the watch compare."""
        for request in self._clients.memory.requests[-_RETRIES:]:
            self._clients.send(self._stage.dice.pick(self._stage.replicas), request)
        self._stage.scheduler.drain()

    def _expire_all(self) -> None:
        """Past the last deadline, sweepers leave no hold standing."""
        entries = self._stage.watch.books.entries.values()
        last_ms = max((entry.deadline_ms for entry in entries), default=0)
        self._stage.clock.jump(max(0.0, (last_ms - self._stage.clock.now_ms()) / 1000) + _AFTER_LEASES_S)
        for _ in range(_MAX_SWEEPS):
            self._everywhere(ActKind.SWEEP)
            if not any(entry.stands for entry in entries):
                break
        left = [entry.decision.decision_id for entry in entries if entry.stands]
        if left:
            raise Violation(f"holds still stand after {_MAX_SWEEPS} sweeps: {left}")
        for tenant_id, purse in self._stage.watch.books.purses.items():
            for name, period in purse.periods.items():
                account = period.account()
                if account.held_nusd or account.in_flight_nusd:
                    raise Violation(f"{tenant_id}, window {name}, is at rest with {account}")

    def _assume_all(self) -> None:
        """Past their time, no answer lacks the reward that its pool assumes."""
        entries, clock = self._stage.watch.books.entries.values(), self._stage.clock

        def lacking() -> list[int]:
            found = [default_due_ms(e.outcome, e.decision) for e in entries if e.is_kept(clock.now_ms())]
            return [due_ms for due_ms in found if due_ms is not None]

        clock.jump(max(0.0, (max(lacking(), default=0) - clock.now_ms()) / 1000))
        for _ in range(_MAX_SWEEPS):
            self._everywhere(ActKind.ASSUME)
            if not lacking():
                return
        raise Violation(f"{len(lacking())} answers still lack a reward after {_MAX_SWEEPS} looks")

    def _learn_all(self) -> None:
        """Past the last lease, any learner finishes."""
        for pool in self._pools():
            unfreeze = self._stage.replicas[0].services.admin.freeze_learning(pool.pool_id, frozen=False)
            self._now(unfreeze)
        self._everywhere(ActKind.REFRESH)
        self._operators.loop(self._stage.dice.pick(self._stage.replicas), ActKind.LEARN)
        self._stage.scheduler.drain()

    def _check_learned(self) -> None:
        """Stored and served state is the batch solution over all outcomes."""
        lessons = self._stage.watch.lessons
        for pool in self._pools():
            snapshot: Snapshot | None = at_once(self._stage.store.snapshots.load(pool.pool_id))
            if snapshot is None:
                if any(lessons.logs[pool.pool_id].values()):
                    raise Violation(f"{pool.pool_id} has events and learned nothing")
                continue
            state = decode_pool_state(snapshot.state)
            lessons.check(pool.pool_id, state)
            lessons.check_complete(pool.pool_id, state)
            self._check_served(pool, snapshot.version)

    def _check_served(self, pool: Pool, version: int) -> None:
        learner = parse_learner(pool.learner)
        for replica in self._served_by(pool):
            served = self._now(replica.services.models.served(pool.pool_id))
            model = getattr(served, "model", None)
            if model is None or model.version != version:
                raise Violation(f"{replica.name} serves version {model} of {pool.pool_id}, newest is {version}")
            if learner.name == "linucb":  # others have no normal equations of their own per arm
                prior = {name: learner.parameters[name] for name in ("level", "bias", "ridge")}
                self._stage.watch.lessons.check_model(pool.pool_id, model, **prior)

    def _served_by(self, pool: Pool) -> Sequence[Replica]:
        return [r for r in self._stage.replicas if pool.pool_id in r.services.directory.pool_ids()]

    def _pools(self) -> list[Pool]:
        """All pools, as they were last stored."""
        latest = [versions[-1][1] for versions in self._stage.watch.views.history.values()]
        return [pool for pool in latest if isinstance(pool, Pool)]

    def _check_audits(self) -> None:
        """The audit trail is all edits in order, each with the account before and after."""
        for tenant_id, purse in self._stage.watch.books.purses.items():
            trail: Sequence[AuditEntry] = at_once(
                self._stage.store.ledger.audit(tenant_id, after_id="", limit=len(purse.trail) + 1)
            )
            if [(line.edit, line.before, line.after) for line in trail] != purse.trail:
                raise Violation(f"audit trail of {tenant_id} is {trail}, it should be {purse.trail}")
