"""Which tenant's sums an outcome belongs to, also when there are more tenants than seats."""

from __future__ import annotations

from bandit_router.core.bills import BillSums
from bandit_router.core.outcomes import Bill, Billing, Outcome
from bandit_router.core.pool_state import PoolState, learn
from bandit_router.core.seats import MAX_SEATS, UNTOLD
from tests.builders import make_decision, make_outcome

GOOD, BAD = make_outcome(reward=1.0), make_outcome(reward=0.0)


def tell(
    state: PoolState,
    tenant_id: str,
    at_ms: int,
    *,
    before: Outcome | None = None,
    after: Outcome = GOOD,
    isolated: bool = False,
) -> None:
    decision = make_decision(
        decision_id=f"{tenant_id}{at_ms}", tenant_id=tenant_id, decided_ms=at_ms, isolated=isolated
    )
    learn(state, decision, before or make_outcome(), after)


def counted(state: PoolState) -> dict[str, int]:
    """Rewards in each sharing tenant's seat."""
    seats = state.tenants.sharing.by_tenant
    return {name: sum(arm.reward.count for arm in seat.book.arms.values()) for name, seat in seats.items()}


def full(extra: int = 0) -> PoolState:
    """Tenants 0, 1, 2 … that have each decided once, at that time."""
    state = PoolState(2)
    for number in range(MAX_SEATS + extra):
        tell(state, str(number), number)
    return state


def test_a_first_tenants_sums_are_the_pools_until_a_second_one_comes() -> None:
    state = PoolState(2)
    tell(state, "acme", 1)
    tell(state, "acme", 2)
    assert counted(state) == {"acme": 0}
    tell(state, "zoo", 3)
    assert counted(state) == {"acme": 2, "zoo": 1}
    assert state.arms["small"].reward.count == 3


def test_records_that_name_no_sharing_are_one_party() -> None:
    state = PoolState(2)
    learn(state, make_decision(), make_outcome(), GOOD)
    tell(state, "acme", 3)
    learn(state, make_decision(), GOOD, BAD)
    assert counted(state) == {UNTOLD: 1, "acme": 1}
    assert state.tenants.sharing.by_tenant[UNTOLD].book.arms["small"].reward.square == 0.0


def test_isolated_outcomes_are_in_no_sums_but_the_tenants_own() -> None:
    state = PoolState(2)
    state.examples.resize(5)
    tell(state, "lone", 1, isolated=True)
    assert (state.arms, state.recency.arms, state.examples.all(), counted(state)) == ({}, {}, [], {})
    assert state.tenants.isolated.by_tenant["lone"].book.arms["small"].reward.count == 1
    assert state.events == 1


def test_of_an_isolated_tenants_bills_the_pool_knows_the_money_alone() -> None:
    state = PoolState(2)
    billed = make_outcome(billing=Billing.BILLED, bill=Bill(70, 100, 120), cost_nusd=70)
    tell(state, "lone", 1, after=billed, isolated=True)
    assert state.bills == {"small": BillSums(spent_nusd=70)}
    tell(state, "acme", 2, after=billed)
    assert (state.bills["small"].count, state.bills["small"].spent_nusd) == (1, 140)


def test_a_new_tenant_takes_the_seat_of_the_one_that_has_not_decided_for_longest() -> None:
    state = full()
    tell(state, "0", 100)
    tell(state, "new", 101)
    assert len(counted(state)) == MAX_SEATS
    assert "1" not in counted(state)
    assert counted(state)["0"] == 2
    assert state.arms["small"].reward.count == MAX_SEATS + 2


def test_a_decision_older_than_all_in_the_seats_takes_none() -> None:
    state = full()
    state.tenants.sharing.by_tenant["0"].latest_ms = 50
    tell(state, "late", 0)
    assert "late" not in counted(state)
    assert state.arms["small"].reward.count == MAX_SEATS + 1


def test_a_correction_of_what_a_lost_seat_held_leaves_the_tenants_new_seat_alone() -> None:
    state = full(extra=1)
    assert "0" not in counted(state)
    tell(state, "0", 200)
    assert counted(state)["0"] == 1
    tell(state, "0", 0, before=GOOD, after=make_outcome())
    assert counted(state)["0"] == 1
    assert state.arms["small"].reward.count == MAX_SEATS + 1


def test_a_copy_is_independent() -> None:
    state = full()
    twin = state.copy()
    tell(twin, "5", 300)
    tell(twin, "lone", 301, isolated=True)
    assert counted(state)["5"] == 1
    assert counted(twin)["5"] == 2
    assert not state.tenants.isolated.by_tenant
