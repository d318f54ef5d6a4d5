"""What somebody is doing in the world, and what the checkers have seen of it so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from bandit_router.core.decision import Decision
from bandit_router.core.outcomes import Outcome
from bandit_router.ports.ledger import BudgetState, Level
from bandit_router.service.messages import FeedbackRequest, RouteRequest


class ActKind(Enum):
    """Kinds of acts. Only FEEDBACK and SWEEP may end a hold, only FEEDBACK and ASSUME touch a reward."""

    ROUTE = "route"
    FEEDBACK = "feedback"
    SWEEP = "sweep"
    ASSUME = "assume"
    LEARN = "learn"
    REFRESH = "refresh"
    ADMIN = "admin"
    BUDGET = "budget"
    START = "start"
    STOP = "stop"


@dataclass(slots=True, eq=False)
class Act:
    """One act on one replica. The lower half is written by the checkers as its store calls take effect."""

    kind: ActKind
    name: str
    replica: str
    route: RouteRequest | None = None
    feedback: FeedbackRequest | None = None
    oldest_view: int = 0
    """Catalog version that the replica had taken over completely when the act began."""

    holds: int = 0
    commits: int = 0
    misfit: Decision | None = None
    misfit_free_nusd: int = 0
    shown: BudgetState | None = None
    """What the ledger last told about the tenant's own budget."""

    free: list[tuple[bool, int]] = field(default_factory=list)
    """Of each level told of since then, the tenant's own first: whether it refuses, and what is free."""

    read: Outcome | None = None
    """The outcome last read, and None if there was no record."""

    read_of: Decision | None = None
    committed: BudgetState | None = None
    """Answer to the last commit since then."""

    seen_version: int = 0
    missed_account: bool = False
    """A tenant's account was not there (yet)."""

    away: bool = False
    """A store call of this act has failed."""

    @property
    def free_nusd(self) -> int:
        """The largest hold that all levels told of have."""
        return min([free_nusd for refuses, free_nusd in self.free if refuses], default=self.free[0][1])

    def was_told(self, level: Level, budget: BudgetState) -> None:
        """The ledger has told about a budget."""
        is_own = self.route is None or (level.account_id == self.route.tenant_id and not level.session_id)
        if is_own:
            self.shown = budget
            self.free.clear()
        self.free.append((not level.shadow, budget.account.free_nusd))
