"""Between the ledger's values and what its scripts take and return."""

from __future__ import annotations

from typing import Any

from bandit_router.adapters.redis import keys
from bandit_router.adapters.redis.scripts import Argument
from bandit_router.core.budget import Account, BudgetEditKind
from bandit_router.core.budget_policies.protocol import PriceMark
from bandit_router.core.windows import Window
from bandit_router.ports.ledger import AuditEntry, BudgetEdit, BudgetState, DecisionRecord

WINDOW_KEEP_MS = 400 * 86_400_000
"""How long a window outlives its end: late bills land there. A fixed total is kept for ever."""


def window_keys(tenant_id: str, window: Window) -> list[str]:
    """KEYS 1-4 of `window.lua`."""
    here = keys.window(tenant_id, window.start_ms)
    before = here if window.previous_start_ms is None else keys.window(tenant_id, window.previous_start_ms)
    return [keys.account(tenant_id), here, before, keys.windows(tenant_id)]


def window_args(window: Window, *, carry_over: bool) -> tuple[Argument, ...]:
    """ARGV 1-6 of `window.lua`."""
    ends = window.end_ms is not None
    return (
        window.start_ms,
        _or_empty(window.end_ms),
        _or_empty(window.previous_start_ms),
        int(carry_over),
        _or_empty(window.end_ms and window.end_ms + WINDOW_KEEP_MS),
        window.start_ms - WINDOW_KEEP_MS if ends else "",
    )


def due_member(tenant_id: str, decision_id: str) -> str:
    """Member of the due queue; neither id contains a space."""
    return f"{tenant_id} {decision_id}"


def budget_state(start_ms: int, fields: list[Any]) -> BudgetState:
    """State from a window's fields: limit spent held over inflight n price price_n price_snap end prev."""
    price = None
    if fields[6] is not None:
        price = _mark(fields[6], int(fields[7]), int(fields[8]))
    window = Window(start_ms, _or_none(fields[9]), _or_none(fields[10]))
    return BudgetState(window, account(fields), price)


def price_text(mark: PriceMark) -> str:
    """The price, and behind it what its budget policy remembers."""
    return " ".join(repr(float(number)) for number in (mark.price_per_usd, *mark.memory))


def _mark(text: bytes, decisions: int, snapshot_version: int) -> PriceMark:
    price, *memory = map(float, text.split())
    return PriceMark(price, decisions, snapshot_version, tuple(memory))


def account(fields: list[Any]) -> Account:
    """Account from the first six fields of a window."""
    return Account(*map(int, fields[:6]))


def decision_record(fields: list[Any]) -> DecisionRecord:
    """Record from decision, outcome, free, rev."""
    decision, outcome, free, revision = fields
    return DecisionRecord(decision, outcome, int(free), int(revision))


def audit_entry(tenant_id: str, entry_id: bytes, flat: list[bytes]) -> AuditEntry:
    """Entry from the audit stream."""
    fields = {name.decode(): value.decode() for name, value in zip(flat[::2], flat[1::2], strict=True)}
    edit = BudgetEdit(
        tenant_id=tenant_id,
        kind=BudgetEditKind(fields["kind"]),
        amount_nusd=int(fields["amount"]),
        reason=fields["reason"],
        actor=fields["actor"],
        edited_ms=int(fields["edited_ms"]),
    )
    return AuditEntry(entry_id.decode(), edit, account(fields["before"].split()), account(fields["after"].split()))


def _or_empty(value: int | None) -> Argument:
    return "" if value is None else value


def _or_none(value: bytes) -> int | None:
    return int(value) if value else None
