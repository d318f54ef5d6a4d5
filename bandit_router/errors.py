"""Every error that the clients and the in-process router raise. Each carries `code`, `reason` and what to act on."""

from bandit_router.adapters.grpc.errors import DeadlineExceeded, NotImplementedYet, RouterUnreachable
from bandit_router.core.errors import (
    AlreadyExists,
    BudgetExhausted,
    Conflict,
    DecisionExpired,
    DecisionNotFound,
    FieldViolation,
    InvalidRequest,
    NoFeasibleArm,
    ResourceInUse,
    ResourceNotFound,
    RouterError,
    StoreAway,
)

__all__ = [
    "AlreadyExists",
    "BudgetExhausted",
    "Conflict",
    "DeadlineExceeded",
    "DecisionExpired",
    "DecisionNotFound",
    "FieldViolation",
    "InvalidRequest",
    "NoFeasibleArm",
    "NotImplementedYet",
    "ResourceInUse",
    "ResourceNotFound",
    "RouterError",
    "RouterUnreachable",
    "StoreAway",
]
