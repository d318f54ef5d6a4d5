"""Worlds from fresh seeds, worlds that once failed, and planted bugs that worlds must find.

The seeds are printed. `bandit-router-sim world --seed S` repeats a world; one that failed goes into failed_seeds.txt
together with what it found, when that has been mended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bandit_router.adapters.memory import accounts
from bandit_router.adapters.memory import ledger as memory_ledger
from bandit_router.adapters.memory.ledger import MemoryLedger
from bandit_router.adapters.memory.snapshots import MemorySnapshots
from bandit_router.core import decision as decisions
from bandit_router.core import outcomes, pool_state
from bandit_router.core.budget import Account
from bandit_router.core.outcomes import MoneyChange
from bandit_router.ports.ledger import BudgetState, HoldRequest, OutcomeCommit
from bandit_router.service import feedback, plan, route
from bandit_router.service.directory import Directory
from bandit_router.service.learning import Learner
from bandit_router_sim.world.failure import WorldFailure
from bandit_router_sim.world.run import fresh_seed, play
from bandit_router_sim.world.world import run_world

FRESH = 40
ENOUGH_TO_FIND_A_BUG = 150

Planted = Callable[[pytest.MonkeyPatch], None]


def failed_seeds() -> list[int]:
    lines = (Path(__file__).parent / "failed_seeds.txt").read_text(encoding="utf-8").splitlines()
    return [int(line.partition("#")[0]) for line in lines if line.partition("#")[0].strip()]


def tell(capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Print past pytest's capture: seeds that are not known cannot be repeated."""
    with capsys.disabled():
        print(f"\n{text}")


def test_no_fresh_world_breaks_a_rule(capsys: pytest.CaptureFixture[str]) -> None:
    first = fresh_seed()
    tell(capsys, f"worlds {first} to {first + FRESH - 1}")
    for seed in range(first, first + FRESH):
        run_world(seed)


@pytest.mark.parametrize("seed", failed_seeds())
def test_worlds_that_failed_once_do_not_fail_again(seed: int) -> None:
    run_world(seed)


def settle_twice(patch: pytest.MonkeyPatch) -> None:
    """A commit ignores that another one came in between."""
    original = MemoryLedger.commit

    async def commit(self: MemoryLedger, asked: OutcomeCommit) -> BudgetState | None:
        record = await self.read(asked.tenant_id, asked.decision_id)
        return await original(self, asked if record is None else replace(asked, revision=record.revision))

    patch.setattr(MemoryLedger, "commit", commit)


def lose_the_hold(patch: pytest.MonkeyPatch) -> None:
    """A settlement books the bill and forgets to free what was held."""
    original = memory_ledger.money_between
    patch.setattr(memory_ledger, "money_between", lambda was, now: replace(original(was, now), held_nusd=0))


def perturb_propensities(patch: pytest.MonkeyPatch) -> None:
    """Propensities that still sum to 1, but are not those of the draw."""

    def perturbed(decision: decisions.Decision, *, last_round: decisions.Round) -> dict[str, float]:
        exact = decisions.propensities_of(decision, last_round=last_round)
        return {arm_id: 0.999 * p + 0.001 / len(exact) for arm_id, p in exact.items()}

    patch.setattr(route, "propensities_of", perturbed)


def ignore_the_redraw(patch: pytest.MonkeyPatch) -> None:
    """The first draw's probabilities are told, as if all arms had fitted."""

    def first_only(decision: decisions.Decision, *, free_nusd: int) -> dict[str, float]:
        first = decision.rounds[0]
        quotes = decision.quotes
        return {quotes[arm].arm_id: p for arm, p in zip(first.arms, first.probabilities, strict=True)}

    patch.setattr(route, "exact_propensities", first_only)


def redraw_with_the_same_number(patch: pytest.MonkeyPatch) -> None:
    """The second draw is not independent of the first."""
    original = plan.uniform
    patch.setattr(plan, "uniform", lambda seed, key, draw=0: original(seed, key, 0))


def forget_request_ids(patch: pytest.MonkeyPatch) -> None:
    """A retried request is decided, and its money held, once more."""
    original = MemoryLedger.hold

    async def hold(self: MemoryLedger, request: HoldRequest) -> Any:
        self._requests.clear()
        return await original(self, request)

    patch.setattr(MemoryLedger, "hold", hold)


def refuse_what_just_fits(patch: pytest.MonkeyPatch) -> None:
    """A hold of all that is free is refused."""
    patch.setattr(Account, "fits", lambda self, hold_nusd: 0 <= hold_nusd < self.free_nusd)


def overdraw(patch: pytest.MonkeyPatch) -> None:
    """Money that is held already is given out again."""
    patch.setattr(Account, "fits", lambda self, hold_nusd: 0 <= hold_nusd <= self.limit_nusd - self.spent_nusd)


def correct_without_the_difference(patch: pytest.MonkeyPatch) -> None:
    """A correction books its bill on top of the one it replaces."""
    original = memory_ledger.money_between

    def money(was: outcomes.Booking, now: outcomes.Booking) -> MoneyChange:
        return replace(original(was, now), spent_nusd=now.spent_nusd)

    patch.setattr(memory_ledger, "money_between", money)


def bring_back_what_was_reset(patch: pytest.MonkeyPatch) -> None:
    """A correction after a reset moves the difference of the bills."""
    patch.setattr(outcomes.Booking, "less", lambda self, written_off_nusd: self)


def forget_the_organisation(patch: pytest.MonkeyPatch) -> None:
    """Only the tenant's own budget is asked and charged."""
    original = route.levels_of
    patch.setattr(route, "levels_of", lambda *args, **names: original(*args, **names)[:1])


def begin_anew_when_the_rule_changes(patch: pytest.MonkeyPatch) -> None:
    """A window of another kind opens with a budget of its own."""
    patch.setattr(accounts, "_runs_on_in", lambda latest, window: latest.name == window.name)


def bill_the_tenant_only(patch: pytest.MonkeyPatch) -> None:
    """Holds are set aside on every level, bills are booked on the first."""
    original = MemoryLedger._book

    def book(self: MemoryLedger, charge: Any, paying: Any, commit: OutcomeCommit) -> Any:
        return original(self, charge, paying, commit) if charge == commit.charges[0] else None

    patch.setattr(MemoryLedger, "_book", book)


def alert_at_every_hold(patch: pytest.MonkeyPatch) -> None:
    """Alerts are told again and again."""
    original = MemoryLedger._alerts

    def alerts(self: MemoryLedger, request: HoldRequest, tenants: Any, windows: Any) -> Any:
        for opened in windows:
            opened.alerted = 0
        return original(self, request, tenants, windows)

    patch.setattr(MemoryLedger, "_alerts", alerts)


def grant_again(patch: pytest.MonkeyPatch) -> None:
    """The id of an edit is not looked at."""
    patch.setattr(MemoryLedger, "_is_repeated", lambda self, tenant, edit: False)


def sweep_too_early(patch: pytest.MonkeyPatch) -> None:
    """Holds expire before their deadline."""
    original = MemoryLedger.due
    patch.setattr(MemoryLedger, "due", lambda self, now_ms, limit: original(self, now_ms + 10_000, limit))


def assume_too_early(patch: pytest.MonkeyPatch) -> None:
    """Default rewards are assumed before their time."""
    original = MemoryLedger.defaults_due
    patch.setattr(MemoryLedger, "defaults_due", lambda self, now_ms, limit: original(self, now_ms + 10_000, limit))


def take_defaults_for_reports(patch: pytest.MonkeyPatch) -> None:
    """A reward that comes after the default is a duplicate."""
    patch.setattr(outcomes.Outcome, "reported_reward", property(lambda self: self.reward))


def forget_who_waits(patch: pytest.MonkeyPatch) -> None:
    """Nobody takes note of answers that a default will have to be assumed of."""
    original = MemoryLedger.commit

    async def commit(self: MemoryLedger, asked: OutcomeCommit) -> BudgetState | None:
        found = await original(self, asked)
        await self.drop_default(asked.tenant_id, asked.decision_id, asked.revision + 1)
        return found

    patch.setattr(MemoryLedger, "commit", commit)


def learn_on_top(patch: pytest.MonkeyPatch) -> None:
    """A corrected reward is learned beside the one it replaces."""

    def add(sums: Any, x: Any, old: float | None, new: float | None) -> None:
        if new is not None and old != new:
            sums.add(x, new)

    patch.setattr(pool_state, "_replace", add)


def let_superseded_learners_write(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks at the fencing token or at what is stored."""

    async def save(self: MemorySnapshots, pool_id: str, token: int, snapshot: Any, **options: Any) -> bool:
        self._snapshots[pool_id] = snapshot
        return True

    patch.setattr(MemorySnapshots, "save", save)


def call_corrections_news(patch: pytest.MonkeyPatch) -> None:
    """A correction is answered as if it were the first report."""
    original = feedback.apply_feedback

    def apply(before: outcomes.Outcome, report: outcomes.Feedback) -> outcomes.Transition:
        found = original(before, report)
        is_correction = found.status is outcomes.FeedbackStatus.CORRECTED
        return replace(found, status=outcomes.FeedbackStatus.APPLIED) if is_correction else found

    patch.setattr(feedback, "apply_feedback", apply)


def miss_changes_of_arms(patch: pytest.MonkeyPatch) -> None:
    """A replica calls its view up to date and has not read what changed."""
    original = Directory.refresh

    async def refresh(self: Directory) -> bool:
        before = {pool_id: dict(arms) for pool_id, arms in self._arms.items()}
        found = await original(self)
        for pool_id, arms in before.items():
            self._arms[pool_id] = self._arms[pool_id] | arms
        return found

    patch.setattr(Directory, "refresh", refresh)


def skip_an_event(patch: pytest.MonkeyPatch) -> None:
    """The learner marks entries as read that it has not folded."""
    original = Learner._fold

    def fold(self: Learner, pool_id: str, state: Any, entries: Any) -> Any:
        folded = original(self, pool_id, state, entries[:-1] if len(entries) > 2 else entries)
        folded.positions[entries[-1].partition] = entries[-1].entry_id
        return folded

    patch.setattr(Learner, "_fold", fold)


PLANTED: tuple[Planted, ...] = (
    settle_twice,
    lose_the_hold,
    perturb_propensities,
    ignore_the_redraw,
    redraw_with_the_same_number,
    forget_request_ids,
    refuse_what_just_fits,
    overdraw,
    correct_without_the_difference,
    bring_back_what_was_reset,
    forget_the_organisation,
    begin_anew_when_the_rule_changes,
    bill_the_tenant_only,
    alert_at_every_hold,
    grant_again,
    sweep_too_early,
    assume_too_early,
    take_defaults_for_reports,
    forget_who_waits,
    learn_on_top,
    let_superseded_learners_write,
    call_corrections_news,
    miss_changes_of_arms,
    skip_an_event,
)


def failures() -> Iterator[WorldFailure]:
    """What worlds find, in the order of their seeds."""
    for seed in range(ENOUGH_TO_FIND_A_BUG):
        result = play(seed)
        if isinstance(result, WorldFailure):
            yield result


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_bug_is_found(
    plant: Planted, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch)
    found = next(failures(), None)
    assert found is not None
    assert f"world --seed {found.seed}" in str(found)
    tell(capsys, f"{plant.__name__}: seed {found.seed}, step {found.step}: {found.what[:140]}")
    monkeypatch.undo()
    run_world(found.seed)
