"""Requests held against the rules in the protos."""

from __future__ import annotations

from collections.abc import Sequence

import protovalidate
from google.protobuf.message import Message

from bandit_router.core.errors import FieldViolation, InvalidRequest


def check(message: Message) -> None:
    """Raise InvalidRequest with the path of every field that breaks a rule.

    A resource in an update need only have the fields that its mask names (and its id): whoever merges it into the
    stored one checks the result.
    """
    violations = [_violation(violation) for violation in protovalidate.collect_violations(message)]
    mask = getattr(message, "update_mask", None)
    if mask is not None and mask.paths:
        violations = [v for v in violations if not _is_masked_out(v.field, mask.paths)]
    if violations:
        raise InvalidRequest(violations)


def _is_masked_out(path: str, masked: Sequence[str]) -> bool:
    """Whether `path`, such as `tenant.pool_id`, lies outside an update's mask of fields, such as `shadow`."""
    resource, _, rest = path.partition(".")
    field = rest.partition(".")[0].partition("[")[0]
    named = {mask_path.partition(".")[0] for mask_path in masked}
    return field not in ("", f"{resource}_id", *named)


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
