"""Requests held against the rules in the protos."""

from __future__ import annotations

import protovalidate
from google.protobuf.message import Message

from bandit_router.core.errors import FieldViolation, InvalidRequest


def check(message: Message) -> None:
    """Raise InvalidRequest with the path of every field that breaks a rule."""
    violations = protovalidate.collect_violations(message)
    if violations:
        raise InvalidRequest([_violation(violation) for violation in violations])


def _violation(violation: protovalidate.Violation) -> FieldViolation:
    proto = violation.proto
    return FieldViolation(_path(proto), proto.message or f"breaks the rule {proto.rule_id}")


def _path(proto: protovalidate.ViolationPb) -> str:
    """Path such as `usage.cost_nusd` or `metrics[accuracy]`; `request` for a rule about the whole message."""
    if not proto.field:
        return "request"
    return ".".join(_step(element) for element in proto.field.elements)


def _step(element: protovalidate.FieldPathElementPb) -> str:
    subscript = element.subscript
    if subscript is None:
        return element.field_name
    return f"{element.field_name}[{subscript.value}]"
