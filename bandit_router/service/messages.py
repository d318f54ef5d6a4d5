"""What the services take and give, free of any wire format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bandit_router.core.decision import Decision
from bandit_router.core.outcomes import FeedbackStatus, OutcomeKind
from bandit_router.ports.ledger import BudgetState

NO_FEATURES: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class Session:
    """The conversation that a request belongs to: where its prompt cache is, and how many tokens it holds."""

    session_id: str = ""
    last_arm_id: str = ""
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class RouteRequest:
    """One request for a decision. Exactly one of `query` and `embedding` is given."""

    tenant_id: str
    query: str | None = None
    embedding: tuple[float, ...] | None = None
    embedding_encoder_id: str = ""
    request_id: str = ""
    prompt_tokens: int | None = None
    max_output_tokens: int | None = None
    allowed_arm_ids: tuple[str, ...] = ()
    max_cost_nusd: int | None = None
    min_expected_reward: float | None = None
    session: Session = field(default_factory=Session)
    features: Mapping[str, float] = field(default_factory=dict)
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class RouteReply:
    """A decision with the exact probability of every arm that could have been chosen, and the budget after its hold."""

    decision: Decision
    propensities: Mapping[str, float]
    budget: BudgetState

    @property
    def propensity(self) -> float:
        """Probability with which the chosen arm was chosen."""
        return self.propensities[self.decision.arm_id]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and, optionally, the exact bill of a call; a bill wins over tokens × price."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cost_nusd: int | None = None


@dataclass(frozen=True, slots=True)
class FeedbackRequest:
    """What became of a decision: bill and reward, together or apart."""

    tenant_id: str
    decision_id: str
    usage: Usage | None = None
    reward: float | None = None
    outcome: OutcomeKind = OutcomeKind.UNSPECIFIED
    metrics: Mapping[str, float] = field(default_factory=dict)
    latency_ms: int | None = None
    idempotency_key: str = ""
    correct: bool = False
    retract: bool = False


@dataclass(frozen=True, slots=True)
class FeedbackReply:
    """What the feedback did, the cost now booked, the part of the hold that is free again, and the budget."""

    status: FeedbackStatus
    settled_cost_nusd: int
    released_nusd: int
    budget: BudgetState
