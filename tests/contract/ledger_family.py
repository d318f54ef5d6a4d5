"""An organisation, its tenants and their sessions, with their own books: every account a sum over its decisions."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from ledger_books import Book, Shelf
from ledger_builders import DAY_MS, FIXED, day

from bandit_router.core.budget import Account
from bandit_router.core.money import MAX_LIMIT_NUSD
from bandit_router.core.outcomes import Billing, Outcome
from bandit_router.core.resources import WindowKind
from bandit_router.core.windows import Window
from bandit_router.ports.ledger import BudgetState, DecisionRecord, Level

DAYS = 3
LIMIT_NUSD = 300
CAP_NUSD = 120
ALERTS = (50, 90)
STEPS_OF_DAYS = 60
"""Steps of a family on its days; then it moves on to days that nobody has seen: their money is mostly gone by then."""


@dataclass
class Known:
    """An account: what its windows open with, and those it has had."""

    generation: int = 1
    base_limit_nusd: int = LIMIT_NUSD
    shelf: Shelf = field(default_factory=Shelf)


@dataclass
class Entry:
    """One decision, as the books have it, charged to the windows `books`; `owner` is the tenant's account."""

    decision_id: str
    tenant_id: str
    owner: Known
    levels: tuple[Level, ...]
    books: tuple[Book, ...]
    first_day: int
    record: DecisionRecord
    outcome: Outcome
    covered_nusd: int
    written_off_nusd: dict[Book, int] = field(default_factory=dict)


@dataclass
class Family:
    """An organisation and its tenants, on three days at a time."""

    name: str
    dice: np.random.Generator
    first_day: int = 0
    steps: int = 0
    made: int = 0
    entries: list[Entry] = field(default_factory=list)
    accounts: dict[str, Known] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.accounts = {account_id: Known() for account_id in (self.name, f"{self.name}/a", f"{self.name}/b")}

    def pick(self, upper: int) -> int:
        return int(self.dice.integers(upper))

    def any_account(self) -> str:
        return list(self.accounts)[self.pick(len(self.accounts))]

    def level(self, account_id: str, now_ms: int, *, is_trial: bool = False) -> Level:
        """The account under one of its rules: days, or now and then all of the family's days as one window."""
        window = day(now_ms, self.first_day + self.pick(DAYS))
        if self.pick(12) == 0:
            first = day(now_ms, self.first_day)
            length_ms = DAYS * DAY_MS
            window = Window(
                first.start_ms,
                first.start_ms + length_ms,
                first.start_ms - length_ms,
                WindowKind.WEEK,
                first.ordinal // DAYS,
            )
        return Level(account_id, window, self.pick(3) == 0, is_trial, ALERTS)

    def session(self, tenant_id: str) -> Level:
        session_id = f"s{self.first_day}.{self.pick(3)}"
        return Level(tenant_id, FIXED, session_id=session_id, cap_nusd=CAP_NUSD)

    def time_of_call(self, now_ms: int) -> int:
        """Later from step to step, but for calls that were under way for long."""
        return now_ms - 1 if self.pick(8) == 0 else now_ms + self.steps

    def book(self, level: Level) -> Book | None:
        shelf = self.accounts[level.account_id].shelf
        return shelf.books.get(level.charge.window) if level.session_id else shelf.find(level.window)

    def use(self, level: Level, at_ms: int, *, opens: bool = True) -> Book | None:
        """The level's window after a call that was admitted, or refused (then it is not opened)."""
        shelf, is_open, limit_nusd = self.accounts[level.account_id].shelf, self.book(level), self.opening(level)
        if not level.session_id:
            book = shelf.use(level.window, at_ms, opens=opens)
        elif opens:
            book = shelf.books.setdefault(level.charge.window, Book(FIXED))
        else:
            book = is_open
        if book is not None and is_open is None:
            book.set_limit(limit_nusd)
        return book

    def opening(self, level: Level) -> int:
        """The limit that a window of this level would open with."""
        if level.session_id:
            return level.cap_nusd
        known, window = self.accounts[level.account_id], level.window
        latest = known.shelf.latest
        if not level.carry_over or latest is None or latest.window.kind is not window.kind:
            return known.base_limit_nusd
        windows_since = window.ordinal - latest.window.ordinal
        if windows_since <= 0:
            return known.base_limit_nusd
        left_nusd = max(0, self.sum(latest).free_nusd)
        return min(MAX_LIMIT_NUSD, known.base_limit_nusd * windows_since + left_nusd)

    def sum(self, book: Book) -> Account:
        """Every counter of a window as the sum over its decisions."""
        mine = [entry for entry in self.entries if book in entry.books]
        standing = [entry.outcome for entry in mine if entry.outcome.billing is Billing.HELD]
        spent_nusd = overrun_nusd = 0
        for entry in mine:
            off_nusd = entry.written_off_nusd.get(book, 0)
            spent_nusd += max(0, entry.outcome.cost_nusd - off_nusd)
            overrun_nusd += max(0, entry.outcome.cost_nusd - (off_nusd or entry.covered_nusd))
        return Account(
            book.limit_nusd,
            spent_nusd,
            sum(outcome.hold_nusd for outcome in standing),
            overrun_nusd,
            sum(outcome.expected_cost_nusd for outcome in standing),
            len(mine),
        )

    def view(self, level: Level) -> Account:
        book = self.book(level)
        return Account(self.opening(level)) if book is None else self.sum(book)

    def check(self, level: Level, told: BudgetState) -> None:
        assert told.window.name == level.window.name
        assert told.account == self.view(level), (self.name, level)
        self.check_law(self.book(level) or Book(level.window, highest_nusd=told.account.limit_nusd), told.account)

    def check_law(self, book: Book, account: Account) -> None:
        """Trials never refuse, so what they set aside may go beyond; a lowered limit may be below what is gone."""
        assert account.limit_nusd == account.free_nusd + account.held_nusd + account.spent_nusd
        assert account.held_nusd + account.spent_nusd <= book.highest_nusd + book.untold_nusd + account.overrun_nusd
        assert min(account.held_nusd, account.spent_nusd, account.overrun_nusd) >= 0

    def reset(self, book: Book) -> None:
        for entry in self.entries:
            if book in entry.books and entry.outcome.billing is not Billing.HELD:
                entry.written_off_nusd[book] = max(entry.written_off_nusd.get(book, 0), entry.outcome.cost_nusd)

    @property
    def recent(self) -> list[Entry]:
        """Decisions of these days, and of those before, whose windows have ended."""
        return [entry for entry in self.entries if entry.first_day >= self.first_day - DAYS]

    def follow(self, entry: Entry, outcome: Outcome, packed: bytes) -> None:
        """The decision's outcome has changed."""
        entry.outcome = outcome
        if outcome.billing is not Billing.HELD:
            entry.covered_nusd = min(entry.covered_nusd, outcome.cost_nusd)
        entry.record = replace(entry.record, outcome=packed, revision=entry.record.revision + 1)

    def move_on(self) -> None:
        """To fresh days, when it is time. Decisions of the days before can still be billed; earlier ones are let go."""
        self.steps += 1
        if self.steps % STEPS_OF_DAYS:
            return
        self.first_day += DAYS
        latest = [known.shelf.latest for known in self.accounts.values()]
        self.entries = [
            entry
            for entry in self.entries
            if entry.first_day >= self.first_day - DAYS or any(book in latest for book in entry.books)
        ]
