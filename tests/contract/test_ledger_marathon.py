"""The budget law over very many steps: families of accounts on memory and Redis side by side, in batches.

Families (an organisation and two tenants, with sessions) are independent, so one step of each goes out at the same
moment and shares a round trip. After every step the two stores have answered alike, and the answer is checked against
books of its own: sums over the decisions themselves. A refusal is false unless what is free is less than the hold.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from ledger_builders import FIXED, commit_of, day, edit_of, hold_request

from bandit_router.adapters.memory import ManualClock, MemoryStore
from bandit_router.adapters.redis import RedisStore, connect
from bandit_router.adapters.system import SystemClock
from bandit_router.core.budget import Account, BudgetEditKind
from bandit_router.core.codec import decode_outcome, encode_outcome
from bandit_router.core.outcomes import Bill, Billing, Feedback, Outcome, OutcomeKind, apply_feedback, expire
from bandit_router.ports.ledger import BudgetState, DecisionRecord, DoesNotFit, Held, Level
from tests.conftest import STORE_TIMEOUT_S, flush

FAMILIES = 128
DAYS = 3
LIMIT_NUSD = 300
CAP_NUSD = 120
ALERTS = (50, 90)
STEPS_OF_DAYS = 150
"""Steps of a family on its days; then it moves on to days that nobody has seen: their money is mostly gone by then."""

GRANT, RESET = BudgetEditKind.GRANT, BudgetEditKind.RESET


@dataclass
class Entry:
    """One decision, as the books have it."""

    decision_id: str
    tenant_id: str
    levels: tuple[Level, ...]
    record: DecisionRecord
    outcome: Outcome
    covered_nusd: int
    written_off_nusd: dict[tuple[str, str], int] = field(default_factory=dict)


@dataclass
class Family:
    """An organisation and its tenants. `limits`: of each window opened, by account and name."""

    name: str
    dice: np.random.Generator
    first_day: int = 0
    steps: int = 0
    made: int = 0
    entries: list[Entry] = field(default_factory=list)
    limits: dict[tuple[str, str], int] = field(default_factory=dict)

    def pick(self, upper: int) -> int:
        return int(self.dice.integers(upper))

    def level(self, account_id: str, now_ms: int) -> Level:
        window = day(now_ms, self.first_day + self.pick(DAYS))
        return Level(account_id, window, alert_percents=ALERTS)

    def account(self, level: Level) -> Account:
        """Every counter of a window as the sum over its decisions."""
        key = level.account_id, level.charge.window
        limit_nusd = CAP_NUSD if level.session_id else self.limits.get(key, LIMIT_NUSD)
        mine = [e for e in self.entries if any((x.account_id, x.charge.window) == key for x in e.levels)]
        standing = [e.outcome for e in mine if e.outcome.billing is Billing.HELD]
        spent_nusd = overrun_nusd = 0
        for entry in mine:
            off_nusd = entry.written_off_nusd.get(key, 0)
            spent_nusd += max(0, entry.outcome.cost_nusd - off_nusd)
            overrun_nusd += max(0, entry.outcome.cost_nusd - (off_nusd or entry.covered_nusd))
        return Account(
            limit_nusd,
            spent_nusd,
            sum(outcome.hold_nusd for outcome in standing),
            overrun_nusd,
            sum(outcome.expected_cost_nusd for outcome in standing),
            len(mine),
        )

    def check(self, level: Level, told: BudgetState) -> None:
        account = told.account
        assert account == self.account(level), (self.name, level)
        assert account.limit_nusd == account.free_nusd + account.held_nusd + account.spent_nusd
        assert account.held_nusd + account.spent_nusd <= account.limit_nusd + account.overrun_nusd
        assert min(account.held_nusd, account.spent_nusd, account.overrun_nusd) >= 0


@dataclass
class Marathon:
    """Both stores, the families, and what has happened."""

    stores: tuple[MemoryStore, RedisStore]
    now_ms: int
    families: list[Family]
    holds: int = 0
    refusals: int = 0

    async def both(self, call: str, *args: Any, **options: Any) -> Any:
        memory, remote = [await getattr(store.ledger, call)(*args, **options) for store in self.stores]
        assert memory == remote
        return memory

    async def begin(self) -> None:
        for family in self.families:
            for account_id in (family.name, f"{family.name}/a", f"{family.name}/b"):
                await self.both("open_account", account_id, LIMIT_NUSD, 1)

    async def step(self, family: Family) -> None:
        number = family.pick(100)
        if not family.entries or number < 45:
            await self.hold(family)
        elif number < 96:
            await self.report(family)
        else:
            await self.edit(family)
        family.steps += 1
        if family.steps % STEPS_OF_DAYS == 0:
            family.entries.clear()
            family.limits.clear()
            family.first_day += DAYS

    async def hold(self, family: Family) -> None:
        family.made += 1
        tenant_id = f"{family.name}/{'ab'[family.pick(2)]}"
        own, above = family.level(tenant_id, self.now_ms), [family.level(family.name, self.now_ms)]
        if family.pick(3) == 0:
            session_id = f"s{family.first_day}.{family.pick(3)}"
            above.append(Level(tenant_id, FIXED, session_id=session_id, cap_nusd=CAP_NUSD))
        request = hold_request(
            self.now_ms,
            hold_nusd=family.pick(60),
            decision_id=f"d{family.made}",
            tenant_id=tenant_id,
            window=own.window,
            charges=family.pick(2) == 0,
            alerts=ALERTS,
            above=tuple(above),
        )
        answer = await self.both("hold", request)
        free_nusd = min(family.account(level).free_nusd for level in request.levels)
        if isinstance(answer, DoesNotFit):
            self.refusals += 1
            assert request.hold_nusd > free_nusd == answer.free_nusd
        else:
            assert isinstance(answer, Held)
            assert request.hold_nusd <= free_nusd
            self.holds += 1
            outcome = decode_outcome(request.outcome)
            family.entries.append(
                Entry(request.decision_id, tenant_id, request.levels, answer.record, outcome, request.hold_nusd)
            )
        for level, told in zip(request.levels, answer.budgets, strict=True):
            family.check(level, told)

    async def report(self, family: Family) -> None:
        entry = family.entries[-1 - family.pick(min(len(family.entries), 40))]
        feedback = Feedback(
            bill=Bill(family.pick(70)) if family.pick(4) else None,
            reward=None if family.pick(2) else family.pick(5) / 4,
            kind=(OutcomeKind.OK, OutcomeKind.FAILED, OutcomeKind.CANCELLED)[family.pick(3)],
            correct=family.pick(3) == 0,
        )
        is_late = family.pick(6) == 0
        transition = expire(entry.outcome) if is_late else apply_feedback(entry.outcome, feedback)
        if not transition.changed:
            return
        window, above = entry.levels[0].window, entry.levels[1:]
        names = {"decision_id": entry.decision_id, "tenant_id": entry.tenant_id, "window": window, "above": above}
        told = await self.both("commit", commit_of(entry.record, transition, self.now_ms, **names))
        entry.outcome = transition.outcome
        if entry.outcome.billing is not Billing.HELD:
            entry.covered_nusd = min(entry.covered_nusd, entry.outcome.cost_nusd)
        before = entry.record
        entry.record = replace(before, outcome=encode_outcome(transition.outcome), revision=before.revision + 1)
        if family.pick(8) == 0:
            assert await self.both("read", entry.tenant_id, entry.decision_id) == entry.record
        family.check(entry.levels[0], told)
        other = entry.levels[family.pick(len(entry.levels))]
        family.check(other, await self.both("budget", other))

    async def edit(self, family: Family) -> None:
        account_id = (family.name, f"{family.name}/a", f"{family.name}/b")[family.pick(3)]
        level, kind = family.level(account_id, self.now_ms), (GRANT, RESET)[family.pick(2)]
        key = account_id, level.window.name
        amount_nusd = family.pick(6) * 8
        edit_id = f"{kind.value} {amount_nusd} {family.made // 16}"  # now and then one that was seen before
        edit = edit_of(kind, amount_nusd, edit_id=edit_id, tenant_id=account_id)
        trail = await self.audit(account_id)
        told = await self.both("edit_budget", edit, level)
        if await self.audit(account_id) != trail:
            limit_nusd = family.limits.get(key, LIMIT_NUSD)
            family.limits[key] = limit_nusd + (edit.amount_nusd if kind is GRANT else 0)
            if kind is RESET:
                self.write_off(family, key)
        family.check(level, told)

    async def audit(self, account_id: str) -> int:
        """How long the trail is by the memory store, whose numbering counts."""
        tenant = self.stores[0].ledger._tenants[account_id]
        return tenant.audited

    def write_off(self, family: Family, key: tuple[str, str]) -> None:
        for entry in family.entries:
            if entry.outcome.billing is not Billing.HELD:
                entry.written_off_nusd[key] = max(entry.written_off_nusd.get(key, 0), entry.outcome.cost_nusd)


async def run(url: str, steps: int, seed: int) -> Marathon:
    flush(url)
    now_ms = SystemClock().now_ms()
    memory, remote = MemoryStore(ManualClock(now_ms)), connect(url, STORE_TIMEOUT_S)
    dice = [np.random.Generator(np.random.PCG64([seed, number])) for number in range(FAMILIES)]
    marathon = Marathon((memory, remote), now_ms, [Family(f"f{n}", dice[n]) for n in range(FAMILIES)])
    try:
        await marathon.begin()
        for _ in range(steps // FAMILIES):
            await asyncio.gather(*(marathon.step(family) for family in marathon.families))
    finally:
        await remote.close()
    return marathon


@pytest.mark.parametrize(
    "steps", [10_000, pytest.param(1_000_000, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])]
)
def test_the_law_holds_after_every_step_and_nothing_is_refused_that_fits(
    valkey_url: str, steps: int, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = time.time_ns() if steps > 10_000 else 1
    began = time.monotonic()
    marathon = asyncio.run(run(valkey_url, steps, seed))
    assert marathon.holds > steps // 10
    assert marathon.refusals > steps // 100
    with capsys.disabled():
        rate = steps / (time.monotonic() - began)
        print(f"\nseed {seed}: {steps} steps, {rate:.0f}/s, {marathon.holds} holds, {marathon.refusals} refusals")
