"""The budget law over very many steps: families of accounts on memory and Redis side by side, in batches.

Families (an organisation and two tenants, with sessions) are independent, so one step of each goes out at the same
moment and shares a round trip. After every step the two stores have answered alike, and the answer is checked against
books of its own: sums over the decisions themselves. A refusal is false unless what is free is less than the hold.

Limits are raised, lowered below what is gone, granted and reset; some calls are trials; windows carry over, go on under
other rules, end with bills still out; tenants are closed and made again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from ledger_builders import commit_of, edit_of, hold_request
from ledger_family import ALERTS, LIMIT_NUSD, Entry, Family, Known

from bandit_router.adapters.memory import ManualClock, MemoryStore
from bandit_router.adapters.redis import RedisStore, connect
from bandit_router.adapters.system import SystemClock
from bandit_router.core.budget import Account, BudgetEditKind
from bandit_router.core.codec import decode_outcome, encode_outcome
from bandit_router.core.outcomes import Bill, Billing, Feedback, OutcomeKind, apply_feedback, expire
from bandit_router.ports.ledger import DoesNotFit, Held
from tests.conftest import flush

FAMILIES = 128
PATIENCE_S = 60.0
"""How long the store may take: over so many steps a busy machine stands still now and then."""

SET, GRANT, RESET = BudgetEditKind.SET_LIMIT, BudgetEditKind.GRANT, BudgetEditKind.RESET
WINDOW = BudgetEditKind.WINDOW


@dataclass
class Marathon:
    """Both stores, the families, and what has happened how often."""

    stores: tuple[MemoryStore, RedisStore]
    now_ms: int
    families: list[Family]
    seen: Counter[str] = field(default_factory=Counter)

    async def both(self, call: str, *args: Any, **options: Any) -> Any:
        memory, remote = [await getattr(store.ledger, call)(*args, **options) for store in self.stores]
        assert memory == remote
        return memory

    async def begin(self) -> None:
        for family in self.families:
            for account_id in family.accounts:
                await self.both("open_account", account_id, LIMIT_NUSD, 1)

    async def step(self, family: Family) -> None:
        number = family.pick(200)
        recent = family.recent[-40:]
        if not recent or number < 90:
            await self.hold(family)
        elif number < 190:
            await self.report(family, recent[family.pick(len(recent))])
        elif number < 199:
            await self.edit(family)
        else:
            await self.make_again(family)
        family.move_on()

    async def hold(self, family: Family) -> None:
        family.made += 1
        tenant_id, is_trial = f"{family.name}/{'ab'[family.pick(2)]}", family.pick(10) == 0
        own = family.level(tenant_id, self.now_ms, is_trial=is_trial)
        levels = [own, family.level(family.name, self.now_ms, is_trial=is_trial and family.pick(2) == 0)]
        if family.pick(3) == 0:
            levels.append(replace(family.session(tenant_id), shadow=is_trial))
        at_ms = family.time_of_call(self.now_ms)
        names = {"decision_id": f"d{family.made}", "tenant_id": tenant_id, "alerts": ALERTS}
        made = hold_request(at_ms, hold_nusd=family.pick(60), charges=family.pick(2) == 0, **names)
        request = replace(made, levels=tuple(levels))
        before = [family.view(level) for level in levels]
        answer = await self.both("hold", request)
        refusing = [account.free_nusd for account, level in zip(before, levels, strict=True) if not level.shadow]
        fits = request.hold_nusd <= min(refusing, default=request.hold_nusd)
        assert isinstance(answer, Held if fits else DoesNotFit)
        books = tuple(family.use(level, at_ms, opens=fits) for level in levels)
        if fits:
            outcome = decode_outcome(request.outcome)
            entry = Entry(
                *(request.decision_id, tenant_id, family.accounts[tenant_id], request.levels, books, family.first_day),
                *(answer.record, outcome, request.hold_nusd),
            )
            family.entries.append(entry)
            for level, book in zip(levels, books, strict=True):
                book.untold_nusd += request.hold_nusd if level.shadow else 0
        else:
            assert answer.free_nusd == min(refusing)
        self.seen["trials" if is_trial and fits else "holds" if fits else "refusals"] += 1
        for level, told in zip(levels, answer.budgets, strict=True):
            family.check(level, told)

    async def report(self, family: Family, entry: Entry) -> None:
        feedback = Feedback(
            bill=Bill(family.pick(70)) if family.pick(4) else None,
            reward=None if family.pick(2) else family.pick(5) / 4,
            kind=(OutcomeKind.OK, OutcomeKind.FAILED, OutcomeKind.CANCELLED)[family.pick(3)],
            correct=family.pick(3) == 0,
        )
        was, is_over = entry.outcome, family.pick(6) == 0
        transition = expire(was) if is_over else apply_feedback(was, feedback)
        if not transition.changed:
            return
        window, above = entry.levels[0].window, entry.levels[1:]
        names = {"decision_id": entry.decision_id, "tenant_id": entry.tenant_id, "window": window, "above": above}
        told = await self.both("commit", commit_of(entry.record, transition, self.now_ms, **names))
        family.follow(entry, transition.outcome, encode_outcome(transition.outcome))
        self.seen["bills after expiry"] += was.billing is Billing.EXPIRED
        self.seen["bills of ended windows"] += entry.first_day < family.first_day
        if family.pick(8) == 0:
            assert await self.both("read", entry.tenant_id, entry.decision_id) == entry.record
        if entry.owner is family.accounts[entry.tenant_id]:
            assert told.window == entry.books[0].window
            assert told.account == family.sum(entry.books[0])
            family.check_law(entry.books[0], told.account)
        else:
            assert told.account == Account(limit_nusd=0)
        other = entry.levels[family.pick(len(entry.levels))]
        family.check(other, await self.both("budget", other))

    async def edit(self, family: Family) -> None:
        account_id, kind = family.any_account(), (SET, GRANT, RESET)[family.pick(3)]
        level, at_ms = family.level(account_id, self.now_ms), family.time_of_call(self.now_ms)
        amount_nusd = family.pick(2) * LIMIT_NUSD or family.pick(400) if kind is SET else family.pick(6) * 8
        edit_id = f"{kind.value} {amount_nusd} {family.made // 16}"  # now and then one that was seen before
        edit = edit_of(kind, amount_nusd, edit_id=edit_id, tenant_id=account_id, edited_ms=at_ms)
        known, trail = family.accounts[account_id], self.trail(account_id)
        told = await self.both("edit_budget", edit, level)
        if self.trail(account_id) != trail:
            book = family.use(level, at_ms)
            assert book is not None
            self.seen["lowered below what is gone"] += kind is SET and told.account.free_nusd < 0
            if kind is RESET:
                family.reset(book)
            elif kind is GRANT:
                book.set_limit(book.limit_nusd + amount_nusd)
            else:
                known.base_limit_nusd = amount_nusd
                book.set_limit(amount_nusd)
        family.check(level, told)

    async def make_again(self, family: Family) -> None:
        """A tenant is deleted and made again: what it has held and spent is the organisation's alone from then on."""
        tenant_id = f"{family.name}/{'ab'[family.pick(2)]}"
        generation = family.accounts[tenant_id].generation
        await self.both("close_account", tenant_id, generation)
        await self.both("open_account", tenant_id, LIMIT_NUSD, generation + 1)
        family.accounts[tenant_id] = Known(generation + 1)
        self.seen["tenants made again"] += 1

    def count_rule_changes(self) -> None:
        for account in self.stores[0].ledger._tenants.values():
            self.seen["rule changes"] += sum(entry.edit.kind is WINDOW for entry in account.audit)

    def trail(self, account_id: str) -> int:
        """How long the audit trail is by the memory store, whose numbering counts."""
        return self.stores[0].ledger._tenants[account_id].audited


async def run(url: str, steps: int, seed: int) -> Marathon:
    flush(url)
    now_ms = SystemClock().now_ms()
    memory, remote = MemoryStore(ManualClock(now_ms)), connect(url, PATIENCE_S)
    dice = [np.random.Generator(np.random.PCG64([seed, number])) for number in range(FAMILIES)]
    marathon = Marathon((memory, remote), now_ms, [Family(f"f{n}", dice[n]) for n in range(FAMILIES)])
    try:
        await marathon.begin()
        for _ in range(steps // FAMILIES):
            await asyncio.gather(*(marathon.step(family) for family in marathon.families))
        marathon.count_rule_changes()
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
    assert marathon.seen["holds"] > steps // 10
    assert marathon.seen["refusals"] > steps // 100
    assert min(marathon.seen.values()) > steps // 5_000
    with capsys.disabled():
        rate = steps / (time.monotonic() - began)
        print(f"\nseed {seed}: {steps} steps, {rate:.0f}/s, {dict(marathon.seen)}")
