"""Router errors as google.rpc.Status, and back.

Every status carries an ErrorInfo with the error's stable reason; the rest of the details says what a caller can act on.
Metadata of a gRPC reply is limited to a few kilobytes, so long texts and lists are cut here: a status that does not fit
would reach the caller as another error.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2 as details_pb2
from google.rpc.status_pb2 import Status

from bandit_router.core import errors

DOMAIN = "bandit-router"
DETAILS_KEY = "grpc-status-details-bin"

MAX_MESSAGE_BYTES = 512
MAX_TEXT_BYTES = 160
MAX_LISTED = 16
"""Violations or arms told in one status at most; fewer where they would exceed MAX_STATUS_BYTES."""

MAX_STATUS_BYTES = 4096

_PLAIN_CORE = (
    errors.Conflict,
    errors.DataLoss,
    errors.EventsTrimmed,
    errors.NotOffered,
    errors.ResourceInUse,
    errors.StateTooNewHere,
    errors.StateUnreadable,
    errors.StoreNotEmpty,
)

_M = TypeVar("_M", bound=Message)
_E = TypeVar("_E", bound=errors.RouterError)


class NotImplementedYet(errors.RouterError):
    """This server does not offer the method."""

    code = "UNIMPLEMENTED"
    reason = "NOT_IMPLEMENTED"


class DeadlineExceeded(errors.RouterError):
    """No answer within the caller's deadline. Whether the call took effect is unknown; ids make it safe to repeat."""

    code = "DEADLINE_EXCEEDED"
    reason = "DEADLINE_EXCEEDED"


class RouterUnreachable(errors.RouterError):
    """No router answered: it is down, draining or out of reach."""

    code = "UNAVAILABLE"
    reason = "ROUTER_UNREACHABLE"


def to_status(error: errors.RouterError) -> Status:
    """The status of an error, small enough for a reply's metadata."""
    listed = MAX_LISTED
    status = _status(error, listed)
    while status.ByteSize() > MAX_STATUS_BYTES and listed:
        listed //= 2
        status = _status(error, listed)
    return status


def from_status(status: Status) -> errors.RouterError:
    """The error that `to_status` was given; a plain RouterError for what this client does not know."""
    info = _first(status.details, details_pb2.ErrorInfo())
    reason = "" if info is None else info.reason
    if reason == "VALIDATION":
        return _invalid(status)
    if reason in ("DECISION_NOT_FOUND", "DECISION_EXPIRED"):
        kind = errors.DecisionNotFound if reason == "DECISION_NOT_FOUND" else errors.DecisionExpired
        return _restore(kind, status, decision_id=_resource_name(status))
    if reason.endswith("_NOT_FOUND"):
        return _resource(errors.ResourceNotFound, status, reason)
    if reason.endswith("_ALREADY_EXISTS"):
        return _resource(errors.AlreadyExists, status, reason)
    if reason == "BUDGET_EXHAUSTED":
        return _exhausted(status, info)
    if reason == "NO_FEASIBLE_ARM":
        failure = _first(status.details, details_pb2.PreconditionFailure()) or details_pb2.PreconditionFailure()
        return _restore(errors.NoFeasibleArm, status, excluded={v.subject: v.description for v in failure.violations})
    if reason == "STORE_UNAVAILABLE":
        return _restore(errors.StoreAway, status, retry_after_s=_retry_after_s(status) or 0.0)
    for plain in (*_PLAIN_CORE, NotImplementedYet, DeadlineExceeded):
        if reason == plain.reason:
            return _restore(plain, status)
    code = _code_of_number(status.code)
    return _restore(errors.RouterError, status, code=code, reason=reason or code)


def from_rpc_error(error: grpc.RpcError) -> errors.RouterError:
    """The error behind a failed call, sync or async."""
    assert isinstance(error, grpc.Call | grpc.aio.AioRpcError)
    metadata: Any = error.trailing_metadata() or ()  # pairs, which the stubs do not know
    for key, value in metadata:
        if key == DETAILS_KEY:
            return from_status(Status.FromString(value))
    code, message = error.code().name, error.details() or ""
    if code in ("UNAVAILABLE", "CANCELLED"):  # a server that stops cancels what it has not begun
        return RouterUnreachable(message)
    if code == "DEADLINE_EXCEEDED":
        return DeadlineExceeded(message)
    plain = errors.RouterError(message)
    plain.code = plain.reason = code
    return plain


def _status(error: errors.RouterError, listed: int) -> Status:
    status = Status(code=grpc.StatusCode[error.code].value[0], message=_cut(error.message, MAX_MESSAGE_BYTES))
    info = details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=_metadata(error))
    for detail in (info, *_details(error, listed)):
        status.details.add().Pack(detail)
    return status


def _metadata(error: errors.RouterError) -> dict[str, str]:
    if isinstance(error, errors.BudgetExhausted):
        return {
            "tenant_id": error.tenant_id,
            "free_nusd": str(error.free_nusd),
            "least_hold_nusd": str(error.least_hold_nusd),
            "session_id": error.session_id,
        }
    return {}


def _details(error: errors.RouterError, listed: int) -> Iterable[Message]:
    match error:
        case errors.InvalidRequest():
            yield details_pb2.BadRequest(
                field_violations=[
                    details_pb2.BadRequest.FieldViolation(
                        field=_cut(v.field, MAX_TEXT_BYTES),
                        description=_cut(v.description, MAX_TEXT_BYTES),
                    )
                    for v in error.violations[:listed]
                ]
            )
        case errors.ResourceNotFound() | errors.AlreadyExists():
            yield _resource_info(error.kind, error.resource_id)
        case errors.DecisionNotFound() | errors.DecisionExpired():
            yield _resource_info("decision", error.decision_id)
        case errors.BudgetExhausted():
            yield _quota_failure(error)
            if error.retry_after_s is not None:
                yield _retry_info(error.retry_after_s)
        case errors.NoFeasibleArm():
            yield details_pb2.PreconditionFailure(
                violations=[
                    details_pb2.PreconditionFailure.Violation(type="ARM_EXCLUDED", subject=arm_id, description=rule)
                    for arm_id, rule in list(error.excluded.items())[:listed]
                ]
            )
        case errors.StoreAway():
            yield _retry_info(error.retry_after_s)


def _quota_failure(error: errors.BudgetExhausted) -> details_pb2.QuotaFailure:
    description = f"{error.free_nusd} nano-USD free, the smallest hold needs {error.least_hold_nusd}"
    subject = f"tenant:{error.tenant_id}" + (f"/session:{error.session_id}" if error.session_id else "")
    violation = details_pb2.QuotaFailure.Violation(subject=subject, description=description)
    return details_pb2.QuotaFailure(violations=[violation])


def _resource_info(kind: str, name: str) -> details_pb2.ResourceInfo:
    return details_pb2.ResourceInfo(resource_type=kind, resource_name=_cut(name, MAX_TEXT_BYTES))


def _retry_info(seconds: float) -> details_pb2.RetryInfo:
    delay = Duration()
    delay.FromMilliseconds(max(0, round(seconds * 1000)))
    return details_pb2.RetryInfo(retry_delay=delay)


def _invalid(status: Status) -> errors.InvalidRequest:
    bad = _first(status.details, details_pb2.BadRequest()) or details_pb2.BadRequest()
    violations = tuple(errors.FieldViolation(v.field, v.description) for v in bad.field_violations)
    return _restore(errors.InvalidRequest, status, violations=violations)


def _resource(kind: type[_E], status: Status, reason: str) -> _E:
    info = _first(status.details, details_pb2.ResourceInfo()) or details_pb2.ResourceInfo()
    return _restore(kind, status, kind=info.resource_type, resource_id=info.resource_name, reason=reason)


def _exhausted(status: Status, info: details_pb2.ErrorInfo | None) -> errors.BudgetExhausted:
    facts = {} if info is None else info.metadata
    return _restore(
        errors.BudgetExhausted,
        status,
        tenant_id=facts.get("tenant_id", ""),
        free_nusd=int(facts.get("free_nusd", "0")),
        least_hold_nusd=int(facts.get("least_hold_nusd", "0")),
        session_id=facts.get("session_id", ""),
        retry_after_s=_retry_after_s(status),
    )


def _restore(kind: type[_E], status: Status, /, **facts: object) -> _E:
    """An error with the server's own message; the constructors would word it anew."""
    error: _E = kind.__new__(kind)
    errors.RouterError.__init__(error, status.message)
    for name, value in facts.items():
        setattr(error, name, value)
    return error


def _resource_name(status: Status) -> str:
    info = _first(status.details, details_pb2.ResourceInfo())
    return "" if info is None else info.resource_name


def _retry_after_s(status: Status) -> float | None:
    info = _first(status.details, details_pb2.RetryInfo())
    return None if info is None else info.retry_delay.ToMilliseconds() / 1000


def _first(details: Iterable[AnyMessage], empty: _M) -> _M | None:
    for detail in details:
        if detail.Unpack(empty):
            return empty
    return None


def _code_of_number(number: int) -> str:
    return next((code.name for code in grpc.StatusCode if code.value[0] == number), "UNKNOWN")


def _cut(text: str, length: int) -> str:
    """At most `length` bytes of the text in UTF-8."""
    encoded = text.encode(errors="replace")
    return encoded.decode() if len(encoded) <= length else f"{encoded[: length - 3].decode(errors='ignore')}…"
