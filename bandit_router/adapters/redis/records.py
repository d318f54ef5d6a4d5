"""Between the ledger's values and what its scripts take and return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from bandit_router.adapters.redis import keys
from bandit_router.adapters.redis.scripts import Argument
from bandit_router.core.budget import Account, BudgetEditKind, Charge
from bandit_router.core.budget_policies.protocol import PriceMark
from bandit_router.core.outcomes import Booking, money_between
from bandit_router.core.windows import Window
from bandit_router.ports.ledger import AuditEntry, BudgetAlert, BudgetEdit, BudgetState, DecisionRecord, Level

WINDOW_KEEP_MS = 400 * 86_400_000
"""How long a window outlives its end: late bills land there. A fixed total is kept for ever."""


def level_keys(level: Level, latest: str) -> list[str]:
    """KEYS of a level in `window.lua`; `latest` is the name of another window's record, if one is looked at."""
    charge = level.charge
    here = keys.window(charge.account_id, charge.window)
    before = keys.window(charge.account_id, latest) if latest else here
    account_id = charge.account_id
    old = keys.old_window(account_id, charge.window)
    return [keys.account(account_id), here, before, keys.windows(account_id), keys.audit(account_id), old]


def level_args(level: Level, latest: str, *, forget_session_ms: int = 0) -> list[Argument]:
    """ARGV of a level in `window.lua`."""
    window, in_session = level.window, bool(level.session_id)
    ends_ms = None if in_session else window.end_ms
    forget_ms = forget_session_ms if in_session else ends_ms and ends_ms + WINDOW_KEEP_MS
    return [
        level.charge.window,
        window.start_ms,
        _or_empty(ends_ms),
        _or_empty(window.previous_start_ms),
        "session" if in_session else window.kind.value,
        0 if in_session else window.ordinal,
        int(level.carry_over),
        _or_empty(forget_ms),
        "" if ends_ms is None else window.start_ms - WINDOW_KEEP_MS,
        level.cap_nusd if in_session else "",
        int(level.shadow),
        " ".join(map(str, level.alert_percents)),
        latest,
    ]


def booking_args(was: Booking, now: Booking) -> list[Argument]:
    """ARGV 6-13 of `commit.lua`."""
    money = money_between(was, now)
    changes = [money.held_nusd, money.spent_nusd, money.overrun_nusd, money.in_flight_nusd]
    return [int(was.stands), int(now.stands), was.spent_nusd, now.spent_nusd, *changes]


def default_arg(was_due_ms: int | None, due_ms: int | None) -> Argument:
    """ARGV 14 of `commit.lua`."""
    if was_due_ms == due_ms:
        return ""
    return "-" if due_ms is None else due_ms


def due_member(tenant_id: str, decision_id: str) -> str:
    """Member of `due` and `defaults`; neither id contains a space."""
    return f"{tenant_id} {decision_id}"


def budget_state(level: Level, fields: list[Any]) -> BudgetState:
    """State of a level's window from its fields, in the order of `window_fields` in `window.lua`.

    Where it goes on under another name by now, it is told about as the level knows it.
    """
    price = None
    if fields[6] is not None:
        price = _mark(fields[6], int(fields[7]), int(fields[8]))
    is_called_so = not fields[14] or fields[14].decode() == level.charge.window
    window = replace(level.window, end_ms=_or_none(fields[9])) if is_called_so else level.window
    return BudgetState(window, account(fields), price)


def charged_state(charge: Charge, fields: list[Any]) -> BudgetState:
    """State of the window that a decision was charged to."""
    named = Window.named(fields[14].decode() if fields[14] else charge.window)
    window = replace(named, ordinal=int(fields[10] or 0), previous_start_ms=_or_none(fields[13]))
    return budget_state(Level(charge.account_id, window), fields)


def budget_alerts(levels: Sequence[Level], states: Sequence[BudgetState], percents: list[int]) -> list[BudgetAlert]:
    """The alerts among the percents reached, 0 standing for none."""
    found = zip(levels, states, percents, strict=True)
    return [BudgetAlert(level.account_id, percent, state) for level, state, percent in found if percent]


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
