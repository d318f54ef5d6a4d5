"""Deciding without the store: what was decided meanwhile, how much of it there may be, and how it gets into the ledger.

A tenant that fails open is answered from memory while the store is away. Each such decision sets its worst case aside
in the tenant's tab, which takes no more than the tenant's outage allowance on this replica; the hold that belongs to it
waits here. `reconcile` writes the holds as soon as the store answers: under their own ids, never refused, so that the
budget shows what was really promised, even where that is more than there was.

Where the answer to an ordinary hold got lost as the store went away, the decision that was asked for stands in under
its own id: if it was recorded after all, nothing is held twice.

What waits here dies with the replica: that is the price of failing open, and the allowance bounds it. So reports about
these decisions are not taken before they are written: what a caller was told is kept is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeVar

from bandit_router.core.budget import Charge
from bandit_router.core.codec import decode_decision
from bandit_router.core.decision import Decision
from bandit_router.core.errors import StoreAway
from bandit_router.core.resources import OutagePolicy, Tenant
from bandit_router.ports.ledger import (
    AccountMissing,
    AlreadyDecided,
    BudgetState,
    HoldRequest,
    HoldResult,
    Ledger,
    StoreUnavailable,
)
from bandit_router.ports.observer import Observer
from bandit_router.service.time_limit import TimeLimit, caller_remaining_s

MAX_WAITING = 10_000
"""Decisions that may wait to be written, over all tenants; further calls are answered UNAVAILABLE."""

RECONCILE_BATCH = 64
"""Holds written side by side."""

PATIENCE = 0.5
"""The part of a caller's time that the store may use up, for a tenant that fails open."""

MIN_PATIENCE_S = 0.05
"""A caller in a greater hurry than this does not make an outage."""

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class _Entry:
    decision: Decision
    hold: HoldRequest


@dataclass(slots=True, eq=False)
class _Tab:
    """One tenant's decisions of one outage; `held_nusd` counts all of them, also those written already."""

    is_away: bool = True
    held_nusd: int = 0
    waiting: dict[str, _Entry] = field(default_factory=dict)
    by_request: dict[str, Decision] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Tally:
    """What became of the outage that is being reconciled; `overdrawn`: on each level, by how much."""

    decisions: int = 0
    held_nusd: int = 0
    overdrawn: dict[Charge, int] = field(default_factory=dict)


class Outages:
    """The tabs of one replica."""

    def __init__(self, *, ledger: Ledger, observer: Observer) -> None:
        self._ledger = ledger
        self._observer = observer
        self._tabs: dict[str, _Tab] = {}
        self._waiting = 0
        self._tally = _Tally()

    def is_away(self, tenant_id: str) -> bool:
        """Whether the tenant's store is known to be away, so that there is no use in asking it."""
        tab = self._tabs.get(tenant_id)
        return tab is not None and tab.is_away

    def began(self, tenant: Tenant) -> None:
        """The store did not answer for this tenant, which fails open."""
        assert tenant.outage_policy is OutagePolicy.FAIL_OPEN
        if not self._tabs:
            self._tally = _Tally()
            self._observer.note("deciding_without_store")
        self._tabs.setdefault(tenant.tenant_id, _Tab()).is_away = True

    def free_nusd(self, tenant: Tenant) -> int:
        """What is left of the tenant's allowance."""
        tab = self._tabs.get(tenant.tenant_id)
        return tenant.outage_allowance_nusd - (0 if tab is None else tab.held_nusd)

    def earlier(self, tenant_id: str, request_id: str) -> Decision | None:
        """The decision of this outage that the request id has."""
        tab = self._tabs.get(tenant_id)
        return None if tab is None or not request_id else tab.by_request.get(request_id)

    def enter(self, decision: Decision, hold: HoldRequest) -> None:
        """Remember a decision until it can be written. Raises StoreAway if too many wait; then nothing is changed."""
        if self._waiting >= MAX_WAITING:
            raise StoreAway(f"the store is away, and {MAX_WAITING} decisions wait for it already")
        tab = self._tabs[decision.tenant_id]
        tab.held_nusd += decision.hold_nusd
        tab.waiting[decision.decision_id] = _Entry(decision, hold)
        if decision.request_id:
            tab.by_request[decision.request_id] = decision
        self._waiting += 1
        self._observer.count("outage_decisions")
        self._observer.level("outage_decisions_waiting", self._waiting)

    async def reconcile(self) -> int:
        """Write what waits, as far as the store answers; how many decisions were written."""
        written = 0
        for tenant_id, tab in tuple(self._tabs.items()):
            try:
                written += await self._settle(tenant_id, tab)
            except StoreUnavailable:
                continue
        return written

    async def close(self) -> None:
        """Write what can be written; what cannot is lost, and the log says how much that is."""
        await self.reconcile()
        lost = [entry.decision for tab in self._tabs.values() for entry in tab.waiting.values()]
        if lost:
            self._observer.count("outage_decisions_lost", len(lost))
            held_nusd = sum(decision.hold_nusd for decision in lost)
            self._observer.note("outage_decisions_lost", decisions=len(lost), held_nusd=held_nusd)

    async def _settle(self, tenant_id: str, tab: _Tab) -> int:
        """Write a tab to its end and close it. Raises StoreUnavailable; what was written by then stays written."""
        written = 0
        if not tab.waiting:
            await self._probe(tenant_id)
        while tab.waiting:
            batch = list(islice(tab.waiting.values(), RECONCILE_BATCH))
            results = await asyncio.gather(*(self._write(entry.hold) for entry in batch), return_exceptions=True)
            for entry, result in zip(batch, results, strict=True):
                if not isinstance(result, BaseException):
                    self._written(tab, entry, result)
                    written += 1
            _raise_first(results)
            tab.is_away = False
        del self._tabs[tenant_id]
        if not self._tabs:
            self._report()
        return written

    async def _probe(self, tenant_id: str) -> None:
        """Raises StoreUnavailable while the tenant's part of the store is away."""
        try:
            await self._ledger.base_limit(tenant_id)
        except AccountMissing:
            return

    async def _write(self, hold: HoldRequest) -> Sequence[BudgetState]:
        """The budgets of all levels after the hold was recorded; none if the tenant is gone, and its money with it.

        A request id that has got another decision meanwhile, on another replica, leaves this one without it: both were
        answered, so the money of both counts.
        """
        try:
            result = await self._ledger.hold(hold)
            if _is_of_another(result, hold.decision_id):
                result = await self._ledger.hold(replace(hold, request_id=""))
        except AccountMissing:
            return ()
        return result.budgets

    def _written(self, tab: _Tab, entry: _Entry, budgets: Sequence[BudgetState]) -> None:
        decision = entry.decision
        del tab.waiting[decision.decision_id]
        tab.by_request.pop(decision.request_id, None)
        self._waiting -= 1
        self._tally.decisions += 1
        self._tally.held_nusd += decision.hold_nusd
        for level, budget in zip(entry.hold.levels, budgets, strict=bool(budgets)):
            self._tally.overdrawn[level.charge] = max(0, -budget.account.free_nusd)
        self._observer.level("outage_decisions_waiting", self._waiting)

    def _report(self) -> None:
        """One line for the whole outage."""
        overdrawn_nusd = sum(self._tally.overdrawn.values())
        self._observer.count("outage_overdrawn_nusd", overdrawn_nusd)
        self._observer.note(
            "outage_reconciled",
            decisions=self._tally.decisions,
            held_nusd=self._tally.held_nusd,
            overdrawn_nusd=overdrawn_nusd,
        )


async def within_patience(answer: Awaitable[_T]) -> _T:
    """The store's answer, if it comes while the caller has time left to be answered without it.

    Raises StoreUnavailable if it does not.
    """
    remaining_s = caller_remaining_s()
    limit_s = None if remaining_s is None else max(MIN_PATIENCE_S, remaining_s * PATIENCE)
    try:
        async with TimeLimit(limit_s):
            return await answer
    except TimeoutError:
        raise StoreUnavailable(f"no answer in {limit_s:g} s, {PATIENCE:g} of what the caller waits") from None


def may_be_unwritten(tenant: Tenant, *, made_ms: int, now_ms: int) -> bool:
    """Whether a decision that the ledger does not know may still wait on some replica: while its hold would stand."""
    fails_open = tenant.outage_policy is OutagePolicy.FAIL_OPEN
    return fails_open and now_ms <= made_ms + int(tenant.hold_ttl_s * 1000)


def _is_of_another(result: HoldResult, decision_id: str) -> bool:
    """Whether the request id of a hold has another decision already."""
    return isinstance(result, AlreadyDecided) and decode_decision(result.record.decision).decision_id != decision_id


def _raise_first(results: Iterable[object]) -> None:
    for result in results:
        if isinstance(result, BaseException):
            raise result
