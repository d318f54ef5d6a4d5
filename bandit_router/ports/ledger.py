"""The ledger: tenants' money, decision records, and the two atomic functions that change them.

Every method is atomic and durable when it returns. A store that cannot be reached in time raises StoreUnavailable;
whether an interrupted call took effect is then unknown, and repeating it is safe (holds are idempotent by decision
and request id, commits by revision).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bandit_router.core.budget import Account, BudgetEditKind
from bandit_router.core.budget_policies.protocol import PriceMark
from bandit_router.core.outcomes import MoneyChange
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
class HoldRequest:
    """One decision to record. `decision` and `outcome` are encoded records, `context` packed float32.

    `request_id` may be empty: then nothing makes a repeated request find this decision. `shadow`: count, never refuse.
    `keep_ms`: how long the record outlives `deadline_ms` or its settlement, whichever is later; a record whose hold
    stands is kept without limit, since forgetting it would lock its money up for good.
    """

    tenant_id: str
    decision_id: str
    request_id: str
    window: Window
    carry_over: bool
    hold_nusd: int
    expected_cost_nusd: int
    deadline_ms: int
    keep_ms: int
    decision: bytes
    outcome: bytes
    context: bytes
    price: PriceMark
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A stored decision. `free_nusd` was free just before its hold; `revision` counts commits from 0."""

    decision: bytes
    outcome: bytes
    free_nusd: int
    revision: int


@dataclass(frozen=True, slots=True)
class Held:
    """The hold was placed and the decision recorded; `budget` is after it."""

    record: DecisionRecord
    budget: BudgetState


@dataclass(frozen=True, slots=True)
class AlreadyDecided:
    """This request (or decision) id has its decision already; nothing was changed."""

    record: DecisionRecord
    budget: BudgetState


@dataclass(frozen=True, slots=True)
class DoesNotFit:
    """The hold exceeds what is free; nothing was changed."""

    budget: BudgetState


HoldResult = Held | AlreadyDecided | DoesNotFit


@dataclass(frozen=True, slots=True)
class OutcomeCommit:
    """A transition to make durable: outcome, money and event together, if `revision` is still the record's.

    `settled`: the hold no longer stands afterwards (the decision leaves the expiry queue).
    """

    tenant_id: str
    pool_id: str
    decision_id: str
    window_start_ms: int
    revision: int
    before: bytes
    after: bytes
    money: MoneyChange
    settled: bool
    recorded_ms: int


@dataclass(frozen=True, slots=True)
class BudgetEdit:
    """An audited change of a tenant's budget; `amount_nusd` is the new limit or the grant (unused by a reset)."""

    tenant_id: str
    kind: BudgetEditKind
    amount_nusd: int
    reason: str
    actor: str
    edited_ms: int


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of a tenant's budget audit trail, with the account before and after."""

    entry_id: str
    edit: BudgetEdit
    before: Account
    after: Account


@dataclass(frozen=True, slots=True)
class DueDecision:
    """A decision whose deadline has passed while its hold stands."""

    tenant_id: str
    decision_id: str
    deadline_ms: int


class Ledger(Protocol):
    """Accounts, holds, decision records and their outcomes."""

    async def open_account(self, tenant_id: str, limit_nusd: int) -> None:
        """Make the tenant known with its base limit; an account that exists is left as it is. Raises LimitError."""
        ...

    async def close_account(self, tenant_id: str) -> None:
        """Forget the tenant's account, windows, audit trail and contexts.

        Decision records live out their time; committing one then moves no money (the state returned is that of an
        account with limit 0), also when the tenant has been opened again.
        """
        ...

    async def base_limit(self, tenant_id: str) -> int:
        """The limit that the tenant's next windows open with. Raises AccountMissing."""
        ...

    async def hold(self, request: HoldRequest) -> HoldResult:
        """Check the window, set the hold and store the record: one atomic step. Raises AccountMissing."""
        ...

    async def read(self, tenant_id: str, decision_id: str) -> DecisionRecord | None:
        """The record, or None if there is none (any more)."""
        ...

    async def find(self, tenant_id: str, request_id: str) -> DecisionRecord | None:
        """The record of the decision that this request id has, or None if it has none (any more)."""
        ...

    async def commit(self, commit: OutcomeCommit) -> BudgetState | None:
        """Store the outcome, move the money and append the joined event; None if the revision has moved on."""
        ...

    async def due(self, now_ms: int, limit: int) -> Sequence[DueDecision]:
        """At most `limit` decisions past their deadline whose hold stands, earliest first per partition."""
        ...

    async def budget(self, tenant_id: str, window: Window, *, carry_over: bool) -> BudgetState:
        """The window's state; one that no decision has opened is shown as it would open. Raises AccountMissing.

        With carry-over a window opens with what the one before has left; an idle one before, never opened, has left
        its whole base limit, except before the tenant's first window: there was no budget yet.
        """
        ...

    async def edit_budget(self, edit: BudgetEdit, window: Window, *, carry_over: bool) -> BudgetState:
        """Apply and audit an edit; SET_LIMIT also sets the base limit. Raises AccountMissing, LimitError."""
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
