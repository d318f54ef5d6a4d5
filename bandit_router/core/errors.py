"""Errors that carry their status: a gRPC code by name, a stable reason, and what a caller needs to act on them.

The in-process router raises them as they are; the gRPC adapter turns them into `google.rpc.Status` and the client
turns that back into them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A request field (dotted path) and the rule it broke."""

    field: str
    description: str


class RouterError(Exception):
    """Base of all errors that callers see. `code` is a gRPC status name, `reason` a stable upper-case word."""

    code = "INTERNAL"
    reason = "INTERNAL"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        """Errors go from process to process whole, whatever their constructors take."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(kind: type[RouterError], args: tuple[object, ...], facts: dict[str, object]) -> RouterError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(facts)
    return error


class InvalidRequest(RouterError):
    """A field breaks a rule; nothing was changed."""

    code = "INVALID_ARGUMENT"
    reason = "VALIDATION"

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations))
        self.violations = tuple(violations)

    @classmethod
    def of(cls, field: str, description: str) -> InvalidRequest:
        """An error about one field."""
        return cls([FieldViolation(field, description)])


class ResourceNotFound(RouterError):
    """No tenant, pool or arm of that id. `reason` is e.g. TENANT_NOT_FOUND."""

    code = "NOT_FOUND"

    def __init__(self, kind: str, resource_id: str) -> None:
        super().__init__(f"{kind} {resource_id!r} does not exist")
        self.kind = kind
        self.resource_id = resource_id
        self.reason = f"{kind.upper()}_NOT_FOUND"


class DecisionNotFound(RouterError):
    """No decision of that id for this tenant."""

    code = "NOT_FOUND"
    reason = "DECISION_NOT_FOUND"

    def __init__(self, decision_id: str) -> None:
        super().__init__(f"decision {decision_id!r} does not exist for this tenant")
        self.decision_id = decision_id


class DecisionExpired(RouterError):
    """The decision's record has been dropped, so long after its deadline that no feedback can be taken."""

    code = "NOT_FOUND"
    reason = "DECISION_EXPIRED"

    def __init__(self, decision_id: str) -> None:
        super().__init__(f"decision {decision_id!r} expired: its record is no longer kept")
        self.decision_id = decision_id


class BudgetExhausted(RouterError):
    """No allowed arm's hold fits in what is free. `retry_after_s` is the time to the next window, if there is one.

    `tenant_id` is the account that has no more, the asking tenant's or its parent's; `session_id`, if not empty, the
    session of it whose cap is reached.
    """

    code = "RESOURCE_EXHAUSTED"
    reason = "BUDGET_EXHAUSTED"

    def __init__(
        self,
        tenant_id: str,
        *,
        free_nusd: int,
        least_hold_nusd: int,
        retry_after_s: float | None,
        session_id: str = "",
    ) -> None:
        who = f"session {session_id!r} of tenant {tenant_id!r}" if session_id else f"tenant {tenant_id!r}"
        super().__init__(f"{who} has {free_nusd} nano-USD free, the smallest hold needs {least_hold_nusd}")
        self.tenant_id = tenant_id
        self.free_nusd = free_nusd
        self.least_hold_nusd = least_hold_nusd
        self.retry_after_s = retry_after_s
        self.session_id = session_id


class NoFeasibleArm(RouterError):
    """The request's constraints (or the arms' switches) exclude every arm; `excluded` maps arm to the rule."""

    code = "FAILED_PRECONDITION"
    reason = "NO_FEASIBLE_ARM"

    def __init__(self, excluded: dict[str, str]) -> None:
        rules = ", ".join(f"{arm_id} ({rule})" for arm_id, rule in excluded.items())
        super().__init__(f"every arm is excluded: {rules or 'the pool has no arms'}")
        self.excluded = excluded


class StoreAway(RouterError):
    """The store cannot be reached in time; safe to retry with the same request id."""

    code = "UNAVAILABLE"
    reason = "STORE_UNAVAILABLE"

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Conflict(RouterError):
    """The resource has changed since the etag was read."""

    code = "ABORTED"
    reason = "CONFLICT"


class AlreadyExists(RouterError):
    """A resource of that id exists."""

    code = "ALREADY_EXISTS"

    def __init__(self, kind: str, resource_id: str) -> None:
        super().__init__(f"{kind} {resource_id!r} exists already")
        self.kind = kind
        self.resource_id = resource_id
        self.reason = f"{kind.upper()}_ALREADY_EXISTS"


class DataLoss(RouterError):
    """What was sent in pieces did not arrive as it was sent; nothing was changed."""

    code = "DATA_LOSS"
    reason = "DATA_LOSS"


class ResourceInUse(RouterError):
    """The resource cannot be removed while others refer to it."""

    code = "FAILED_PRECONDITION"
    reason = "RESOURCE_IN_USE"


class StateUnreadable(RouterError):
    """What is stored cannot be read by this replica: newer code wrote it, or it is damaged. Another one may read it.

    `pool_id`: whose learned state it is; '': it is the store as a whole.
    """

    code = "UNAVAILABLE"
    reason = "STATE_UNREADABLE"

    def __init__(self, pool_id: str, why: str) -> None:
        what = f"the learned state of pool {pool_id!r}" if pool_id else "the store"
        super().__init__(f"{what} cannot be read by this replica: {why}")

    @classmethod
    def of_store(cls, *, needs: int, known: int) -> StateUnreadable:
        """The store needs a newer schema version than the code knows."""
        return cls("", f"it needs schema version {needs}, this code knows up to {known}")


class EventsTrimmed(RouterError):
    """The cursor stands before events that are no longer kept: going on from it would miss some."""

    code = "OUT_OF_RANGE"
    reason = "EVENTS_TRIMMED"

    def __init__(self, pool_id: str) -> None:
        super().__init__(f"events of pool {pool_id!r} behind this cursor have been dropped; start without a cursor")


class NotOffered(RouterError):
    """What this server runs on cannot do this."""

    code = "UNIMPLEMENTED"
    reason = "NOT_OFFERED"


class StateTooNewHere(RouterError):
    """The state was exported by newer code than this. Nothing was changed."""

    code = "FAILED_PRECONDITION"
    reason = "STATE_TOO_NEW"


class StoreNotEmpty(RouterError):
    """An import would overwrite what is there. Nothing was changed."""

    code = "FAILED_PRECONDITION"
    reason = "STORE_NOT_EMPTY"
