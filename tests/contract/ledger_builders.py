"""Short ways to say what the ledger tests are about."""

from __future__ import annotations

from bandit_router.core.budget import BudgetEditKind, Charge
from bandit_router.core.codec import decode_outcome, encode_outcome
from bandit_router.core.outcomes import Feedback, FeedbackStatus, Outcome, Transition, apply_feedback, expire
from bandit_router.core.resources import WindowKind
from bandit_router.core.windows import Window
from bandit_router.ports.ledger import (
    BudgetEdit,
    BudgetState,
    DecisionRecord,
    HoldRequest,
    Ledger,
    Level,
    OutcomeCommit,
    PriceMark,
)

TENANT = "acme"
POOL = "chat"
FIXED = Window(start_ms=0)
DAY_MS = 86_400_000
HOUR_MS = 3_600_000
PRICE = PriceMark(price_per_usd=2.5, decisions=3, snapshot_version=7, memory=(0.1, -3.0, 1e-300))


def day(now_ms: int, offset: int = 0) -> Window:
    """The day that contains `now_ms`, or one `offset` days later."""
    start_ms = now_ms // DAY_MS * DAY_MS + offset * DAY_MS
    return Window(start_ms, start_ms + DAY_MS, start_ms - DAY_MS, WindowKind.DAY, start_ms // DAY_MS)


def month(now_ms: int) -> Window:
    """Thirty days around the one that contains `now_ms`."""
    start_ms = day(now_ms, -10).start_ms
    return Window(start_ms, start_ms + 30 * DAY_MS, start_ms - 30 * DAY_MS, WindowKind.MONTH, 0)


def level_of(window: Window = FIXED, *, carry_over: bool = False, account_id: str = TENANT, **options: object) -> Level:
    """The tenant's own level, or that of another account."""
    return Level(account_id, window, carry_over, **options)


def session_of(session_id: str, cap_nusd: int, *, shadow: bool = False) -> Level:
    return Level(TENANT, FIXED, shadow=shadow, session_id=session_id, cap_nusd=cap_nusd)


def hold_request(
    now_ms: int,
    *,
    hold_nusd: int = 10,
    decision_id: str = "d1",
    request_id: str = "",
    tenant_id: str = TENANT,
    window: Window = FIXED,
    carry_over: bool = False,
    ttl_ms: int = HOUR_MS,
    keep_ms: int = DAY_MS,
    charges: bool = True,
    shadow: bool = False,
    context: bytes = b"ctx",
    alerts: tuple[int, ...] = (),
    above: tuple[Level, ...] = (),
) -> HoldRequest:
    expected_nusd = hold_nusd // 2
    return HoldRequest(
        tenant_id=tenant_id,
        decision_id=decision_id,
        request_id=request_id,
        levels=(Level(tenant_id, window, carry_over, shadow, alerts), *above),
        hold_nusd=hold_nusd,
        expected_cost_nusd=expected_nusd,
        held_ms=now_ms,
        deadline_ms=now_ms + ttl_ms,
        keep_ms=keep_ms,
        decision=f"decision {decision_id}".encode(),
        outcome=encode_outcome(Outcome(hold_nusd, expected_nusd, expiry_charges=charges)),
        context=context,
        price=PRICE,
    )


def commit_of(
    record: DecisionRecord,
    transition: Transition,
    now_ms: int,
    *,
    decision_id: str = "d1",
    tenant_id: str = TENANT,
    window: Window = FIXED,
    pool_id: str = POOL,
    above: tuple[Level, ...] = (),
) -> OutcomeCommit:
    return OutcomeCommit(
        tenant_id=tenant_id,
        pool_id=pool_id,
        decision_id=decision_id,
        charges=(Charge(tenant_id, window.name), *(level.charge for level in above)),
        revision=record.revision,
        before=record.outcome,
        after=encode_outcome(transition.outcome),
        was=decode_outcome(record.outcome).booking,
        now=transition.outcome.booking,
        recorded_ms=now_ms,
    )


async def give(ledger: Ledger, feedback: Feedback | None, now_ms: int, **names: object) -> FeedbackStatus:
    """Read, apply, commit, as the service does until nobody is faster. `feedback` None: the deadline passes."""
    decision_id = str(names.get("decision_id", "d1"))
    while True:
        record = await ledger.read(str(names.get("tenant_id", TENANT)), decision_id)
        assert record is not None
        outcome = decode_outcome(record.outcome)
        transition = expire(outcome) if feedback is None else apply_feedback(outcome, feedback)
        if not transition.changed:
            return transition.status
        if await ledger.commit(commit_of(record, transition, now_ms, **names)) is not None:
            return transition.status


async def budget_of(ledger: Ledger, window: Window = FIXED, *, carry_over: bool = False) -> BudgetState:
    return await ledger.budget(level_of(window, carry_over=carry_over))


def edit_of(
    kind: BudgetEditKind,
    amount_nusd: int = 0,
    *,
    reason: str = "asked for",
    edit_id: str = "",
    tenant_id: str = TENANT,
    edited_ms: int = 1,
) -> BudgetEdit:
    return BudgetEdit(tenant_id, kind, amount_nusd, reason, "alice", edited_ms, edit_id=edit_id)
