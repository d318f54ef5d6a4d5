"""The ledger: tenants' money, decision records, and the atomic functions that change them.

Every method is atomic and durable when it returns. A store that cannot be reached in time raises StoreUnavailable;
whether an interrupted call took effect is then unknown, and repeating it is safe: holds are idempotent by decision and
request id, commits by revision, edits by their id, and accounts are opened and closed by generation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bandit_router.core.budget import Account, BudgetEditKind, Charge, session_window
from bandit_router.core.budget_policies.protocol import PriceMark
from bandit_router.core.outcomes import Booking
from bandit_router.core.windows import Window


class StoreUnavailable(Exception):
    """The store did not answer in time or refused the connection."""


class AccountMissing(Exception):
    """The tenant has no account in this ledger."""


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A window's account as it stands, with the price mark last stored (None before the first)."""

    window: Window
    account: Account
    price: PriceMark | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """One account that a hold must fit, in its present window: the tenant's, its parent's, or that of a session.

    `shadow`: count, never refuse. `alert_percents`, ascending: shares of the limit to tell of when held and spent money
    reach them. A session's level has its id and its cap; it lives in the tenant's account, opens by itself, and is
    forgotten when the records of its decisions are.
    """

    account_id: str
    window: Window
    carry_over: bool = False
    shadow: bool = False
    alert_percents: tuple[int, ...] = ()
    session_id: str = ""
    cap_nusd: int = 0

    @property
    def charge(self) -> Charge:
        """What a decision's record keeps of this level."""
        return Charge(self.account_id, session_window(self.session_id) if self.session_id else self.window.name)


def largest_hold(levels: Sequence[Level], accounts: Sequence[Account]) -> tuple[int, int | None]:
    """The largest hold that all levels have, in nano-USD, and which of them has no more; None if none of them refuses.

    `accounts`: of the levels' windows. Where none refuses, it is what the tenant's own has.
    """
    free = [account.free_nusd for account in accounts]
    refusing = [index for index, level in enumerate(levels) if not level.shadow]
    short = min(refusing, key=free.__getitem__, default=None)
    return free[short or 0], short


@dataclass(frozen=True, slots=True)
class HoldRequest:
    """One decision to record. `decision` and `outcome` are encoded records, `context` packed float32.

    `levels`: every account that must have the money, the tenant's own first, all in one partition.
    `request_id` may be empty: then nothing makes a repeated request find this decision.
    `keep_ms`: how long the record outlives `deadline_ms` or its settlement, whichever is later; a record whose hold
    stands is kept without limit, since forgetting it would lock its money up for good.
    """

    tenant_id: str
    decision_id: str
    request_id: str
    levels: tuple[Level, ...]
    hold_nusd: int
    expected_cost_nusd: int
    held_ms: int
    deadline_ms: int
    keep_ms: int
    decision: bytes
    outcome: bytes
    context: bytes
    price: PriceMark


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A stored decision. `free_nusd` could be held just before its hold; `revision` counts commits from 0."""

    decision: bytes
    outcome: bytes
    free_nusd: int
    revision: int


@dataclass(frozen=True, slots=True)
class BudgetAlert:
    """Held and spent money of an account's window has reached a share of its limit: told once a window.

    An edit of the budget makes ready again what the account then no longer reaches.
    """

    account_id: str
    percent: int
    budget: BudgetState


@dataclass(frozen=True, slots=True)
class Held:
    """The hold was placed and the decision recorded; `budgets` are those of all levels after it."""

    record: DecisionRecord
    budgets: tuple[BudgetState, ...]
    alerts: tuple[BudgetAlert, ...] = ()

    @property
    def budget(self) -> BudgetState:
        """The tenant's own."""
        return self.budgets[0]


@dataclass(frozen=True, slots=True)
class AlreadyDecided:
    """This request (or decision) id has its decision already; nothing was changed."""

    record: DecisionRecord
    budgets: tuple[BudgetState, ...]

    @property
    def budget(self) -> BudgetState:
        """The tenant's own."""
        return self.budgets[0]


@dataclass(frozen=True, slots=True)
class DoesNotFit:
    """The hold exceeds what is free on one of its levels; nothing was changed, but for alerts and names of windows.

    `free_nusd`: the largest hold that would have been placed; `short`: index of the level that has no more.
    """

    budgets: tuple[BudgetState, ...]
    free_nusd: int
    short: int = 0
    alerts: tuple[BudgetAlert, ...] = ()

    @property
    def budget(self) -> BudgetState:
        """The tenant's own."""
        return self.budgets[0]


HoldResult = Held | AlreadyDecided | DoesNotFit


@dataclass(frozen=True, slots=True)
class OutcomeCommit:
    """A transition to make durable: outcome, money and event together, if `revision` and `before` are the record's.

    `was` and `now`: what the decision counted for before and counts for after, in each of its `charges`; what a reset
    has written off meanwhile, the ledger leaves out. `settled`: the hold no longer stands afterwards (the decision
    leaves the expiry queue). `default_was_due_ms` and `default_due_ms`: when a default reward was to be assumed before,
    and is after; None: it was or is not.
    """

    tenant_id: str
    pool_id: str
    decision_id: str
    charges: tuple[Charge, ...]
    revision: int
    before: bytes
    after: bytes
    was: Booking
    now: Booking
    recorded_ms: int
    default_was_due_ms: int | None = None
    default_due_ms: int | None = None

    @property
    def settled(self) -> bool:
        """Whether this ends the hold."""
        return self.was.stands and not self.now.stands


@dataclass(frozen=True, slots=True)
class BudgetEdit:
    """An audited change of a tenant's budget; `amount_nusd` is the new limit or the grant (unused by a reset).

    `edit_id`, if not empty, makes a repetition harmless for EDIT_KEEP_MS: an edit whose id was seen changes nothing.
    """

    tenant_id: str
    kind: BudgetEditKind
    amount_nusd: int
    reason: str
    actor: str
    edited_ms: int
    edit_id: str = ""


class EditIdTaken(Exception):
    """The id belongs to another edit, of another kind or amount."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of a tenant's budget audit trail, with the account before and after. Edit ids are not kept."""

    entry_id: str
    edit: BudgetEdit
    before: Account
    after: Account


@dataclass(frozen=True, slots=True)
class DueDecision:
    """A decision whose deadline has passed: that of its bill while its hold stands, or that of its reward."""

    tenant_id: str
    decision_id: str
    deadline_ms: int


class Ledger(Protocol):
    """Accounts, holds, decision records and their outcomes."""

    async def open_account(self, tenant_id: str, limit_nusd: int, generation: int) -> None:
        """Make the tenant known with its base limit, unless it has an account of this or a later generation.

        One of an earlier generation, left by a deletion that was cut short, is closed. Raises LimitError.
        """
        ...

    async def close_account(self, tenant_id: str, generation: int) -> None:
        """Forget the tenant's account, windows, audit trail and contexts, unless it is of a later generation.

        Decision records live out their time; committing one then moves no money in this account (the state returned is
        that of an account with limit 0), also when the tenant has been opened again.
        """
        ...

    async def base_limit(self, tenant_id: str) -> int:
        """The limit that the tenant's next windows open with. Raises AccountMissing."""
        ...

    async def generation(self, tenant_id: str) -> int:
        """The generation of the tenant's account. Raises AccountMissing."""
        ...

    async def hold(self, request: HoldRequest) -> HoldResult:
        """Check all levels, set the hold on each and store the record: one atomic step. Raises AccountMissing.

        A window that goes on under another rule (see `budget`) is called so from then on, unless the hold is older than
        its present name; the audit trail says so.
        """
        ...

    async def read(self, tenant_id: str, decision_id: str) -> DecisionRecord | None:
        """The record, or None if there is none (any more)."""
        ...

    async def find(self, tenant_id: str, request_id: str) -> DecisionRecord | None:
        """The record of the decision that this request id has, or None if it has none (any more)."""
        ...

    async def commit(self, commit: OutcomeCommit) -> BudgetState | None:
        """Store the outcome, move the money on all levels and append the joined event; the tenant's own budget.

        None if the record is not at the revision and outcome that were read. The revision alone does not tell: a store
        that comes back without the last it had acknowledged gives the same ones out again.
        """
        ...

    async def due(self, now_ms: int, limit: int) -> Sequence[DueDecision]:
        """At most `limit` decisions past their deadline whose hold stands, earliest first per partition."""
        ...

    async def defaults_due(self, now_ms: int, limit: int) -> Sequence[DueDecision]:
        """At most `limit` decisions whose default reward is to be assumed by now, earliest first per partition."""
        ...

    async def drop_default(self, tenant_id: str, decision_id: str, revision: int | None) -> None:
        """Take the decision out of those, if its record is at this revision (None: there is no record any more).

        For what a commit has not: a record that is gone, or one that was written by code which knows no defaults.
        """
        ...

    async def budget(self, level: Level) -> BudgetState:
        """The state of a level's window; one that no decision has opened is shown as it would open.

        After a change of the rule the account's present window goes on as the level's, if the two share any time: same
        limit, usage, holds and price, another name and end.

        With carry-over a window opens with what the one opened last before has left, and with the whole base limit of
        each idle one in between; with nothing from before the account's first window of its kind: there was no budget
        yet. Raises AccountMissing.
        """
        ...

    async def edit_budget(self, edit: BudgetEdit, level: Level) -> BudgetState:
        """Apply and audit an edit of the level's window; SET_LIMIT also sets the base limit.

        Raises AccountMissing, LimitError, EditIdTaken.
        """
        ...

    async def audit(self, tenant_id: str, *, after_id: str, limit: int) -> Sequence[AuditEntry]:
        """Audit entries after `after_id` ('' for the first), oldest first; the latest AUDIT_ENTRIES are kept."""
        ...

    async def recent_contexts(self, tenant_id: str) -> Sequence[bytes]:
        """Packed contexts of the tenant's latest decisions, newest first, at most RECENT_CONTEXTS."""
        ...


RECENT_CONTEXTS = 256
"""Size of the reservoir that the price of money is solved over, per tenant."""

AUDIT_ENTRIES = 10_000
"""Length of a tenant's budget audit trail; older entries are dropped."""

EDIT_KEEP_MS = 7 * 24 * 3_600_000
"""How long an edit's id is remembered."""
