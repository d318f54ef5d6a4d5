"""Who taught a pool what: each tenant's own book of sums, beside that of the whole pool.

The pool's sums are over all tenants that share. A seat holds what one tenant has contributed to them or, of an
isolated tenant, what it has kept to itself. As long as a pool knows one sharing tenant only, the pool's sums are that
tenant's, and its seat stays empty; they are copied into it when a second one comes.

There are `MAX_SEATS` of each kind. A tenant that comes when all are taken gets that of the tenant which has not decided
for longest. What a lost seat had held stays in the pool's sums, where it counts as that of strangers (an isolated
tenant's is forgotten). Every seat opened since is of decisions later than any in a lost one, so that a correction
always finds the outcome that it corrects where it was put; and up to `MAX_SEATS` tenants, the order in which outcomes
arrive makes no difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bandit_router.core.arm_state import Arms, copy_arms
from bandit_router.core.discounted import Discounted
from bandit_router.core.recent import Recency

MAX_SEATS = 32
"""Tenants of a kind that are told apart. A seat takes as much room as a pool of one tenant."""

UNTOLD = ""
"""In the place of a tenant id: whoever taught the pool before tenants were told apart, all together."""


@dataclass(slots=True, eq=False)
class Book:
    """The sums of some outcomes, by arm: over all of them, of the latest rewards, and discounted, if a learner asks."""

    arms: Arms = field(default_factory=dict)
    recency: Recency = field(default_factory=Recency)
    discounted: Discounted = field(default_factory=Discounted)

    @property
    def rewards(self) -> int:
        """Logical time: how many rewards are in it, or had been learned when the newest decision in it was made."""
        return max(self.recency.clock, sum(arm.reward.count for arm in self.arms.values()))

    def copy(self) -> Book:
        """An independent copy."""
        return Book(copy_arms(self.arms), self.recency.copy(), self.discounted.copy())


@dataclass(slots=True, eq=False)
class Seat:
    """One tenant's own book, of decisions made from `since_ms` on; `latest_ms`: when the newest of them was made."""

    since_ms: int
    latest_ms: int
    book: Book = field(default_factory=Book)

    def copy(self) -> Seat:
        """An independent copy."""
        return Seat(self.since_ms, self.latest_ms, self.book.copy())


@dataclass(slots=True, eq=False)
class Seats:
    """Seats by tenant. Decisions from before `floor_ms` belong to no seat that is opened from now on."""

    by_tenant: dict[str, Seat] = field(default_factory=dict)
    floor_ms: int = 0

    def copy(self) -> Seats:
        """An independent copy."""
        return Seats({tenant_id: seat.copy() for tenant_id, seat in self.by_tenant.items()}, self.floor_ms)

    def of(self, tenant_id: str, decided_ms: int) -> Seat | None:
        """The seat that a decision of this tenant belongs to, opened if need be; None if it belongs to none."""
        seat = self.by_tenant.get(tenant_id) or self._open(tenant_id, decided_ms)
        if seat is None or decided_ms < seat.since_ms:
            return None
        seat.latest_ms = max(seat.latest_ms, decided_ms)
        return seat

    def _open(self, tenant_id: str, decided_ms: int) -> Seat | None:
        if len(self.by_tenant) >= MAX_SEATS:
            longest = min(self.by_tenant, key=lambda other: (self.by_tenant[other].latest_ms, other))
            if decided_ms <= self.by_tenant[longest].latest_ms:
                return None
            self.floor_ms = max(self.floor_ms, self.by_tenant.pop(longest).latest_ms + 1)
        if decided_ms < self.floor_ms:
            return None
        self.by_tenant[tenant_id] = Seat(self.floor_ms, decided_ms)
        return self.by_tenant[tenant_id]


@dataclass(slots=True, eq=False)
class Tenants:
    """The seats of a pool's tenants: of those that share what they teach, and of those that are isolated.

    Invariant: a lone sharing tenant's seat is empty (its sums are the pool's).
    """

    sharing: Seats = field(default_factory=Seats)
    isolated: Seats = field(default_factory=Seats)

    def copy(self) -> Tenants:
        """An independent copy."""
        return Tenants(self.sharing.copy(), self.isolated.copy())

    @property
    def are_told_apart(self) -> bool:
        """Whether anything is known of any one of them."""
        return not self.sharing.by_tenant.keys() <= {UNTOLD} or bool(self.isolated.by_tenant)

    @property
    def seats(self) -> list[Seat]:
        """All seats: those of sharing tenants first."""
        return [*self.sharing.by_tenant.values(), *self.isolated.by_tenant.values()]

    def books(self, tenant_id: str, decided_ms: int, pool: Book, *, isolated: bool) -> list[Book]:
        """All books that a decision's outcomes are entered in, `pool` being the pool's; in isolation it may be none."""
        if isolated:
            apart = self.isolated.of(tenant_id, decided_ms)
            return [] if apart is None else [_discounting(apart.book, Discounted(pool.discounted.gamma))]
        known = self.sharing.by_tenant
        if pool.arms and not known:
            self.sharing.of(UNTOLD, 0)
        if len(known) == 1 and tenant_id not in known:
            (first,) = known.values()
            first.book = pool.copy()
        own = self.sharing.of(tenant_id, decided_ms)
        return [pool] if own is None or len(known) == 1 else [pool, _discounting(own.book, pool.discounted)]


def _discounting(book: Book, like: Discounted) -> Book:
    """The book; one that was just opened keeps discounted sums that begin where `like` did."""
    if book.discounted.gamma != like.gamma:
        book.discounted = like.with_arms({})
    return book
