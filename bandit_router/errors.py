"""Every error that the clients and the in-process router raise. Each carries `code`, `reason` and what to act on."""

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
    "DecisionExpired",
    "DecisionNotFound",
    "FieldViolation",
    "InvalidRequest",
    "NoFeasibleArm",
    "ResourceInUse",
    "ResourceNotFound",
    "RouterError",
    "StoreAway",
]
