"""Errors as google.rpc.Status and back: the same class, message and facts, in little space."""

from __future__ import annotations

import pytest

from bandit_router.adapters.grpc.errors import MAX_STATUS_BYTES, DeadlineExceeded, from_status, to_status
from bandit_router.core import errors

ERRORS: list[errors.RouterError] = [
    errors.InvalidRequest.of("usage.cost_nusd", "must not be negative"),
    errors.InvalidRequest([errors.FieldViolation("a", "x"), errors.FieldViolation("b[3]", "y")]),
    errors.ResourceNotFound("tenant", "acme"),
    errors.ResourceNotFound("arm", "meta-llama/llama-3"),
    errors.DecisionNotFound("p01-nothing"),
    errors.DecisionExpired("p01-gone"),
    errors.BudgetExhausted("acme", free_nusd=-5, least_hold_nusd=2**53, retry_after_s=12.5),
    errors.BudgetExhausted("acme", free_nusd=0, least_hold_nusd=1, retry_after_s=None),
    errors.NoFeasibleArm({"small": "disabled", "large": "max_cost_nusd"}),
    errors.NoFeasibleArm({}),
    errors.StoreAway("the store is away", retry_after_s=0.1),
    errors.Conflict("pool 'main' has changed"),
    errors.AlreadyExists("pool", "main"),
    errors.ResourceInUse("pool 'main' is in use"),
    errors.RouterError("internal error"),
    DeadlineExceeded("too late"),
]


def facts(error: errors.RouterError) -> dict[str, object]:
    return {"code": error.code, "reason": error.reason, **vars(error)}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_the_wire(error: errors.RouterError) -> None:
    restored = from_status(to_status(error))
    assert type(restored) is type(error)
    assert str(restored) == str(error)
    assert facts(restored) == facts(error)


def test_an_error_of_a_newer_server_keeps_code_and_reason() -> None:
    class Newer(errors.RouterError):
        code = "PERMISSION_DENIED"
        reason = "NOT_ALLOWED"

    restored = from_status(to_status(Newer("no")))
    assert (type(restored), restored.code, restored.reason) == (errors.RouterError, "PERMISSION_DENIED", "NOT_ALLOWED")


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidRequest([errors.FieldViolation("ß" * 1000, "€" * 1000)] * 1000),
        errors.NoFeasibleArm({f"{'x' * 120}{i}": "min_expected_reward" for i in range(256)}),
        errors.ResourceNotFound("tenant", "😀" * 10_000),
        errors.Conflict("\udc80" * 10_000),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_status_outgrows_the_metadata_of_a_reply(error: errors.RouterError) -> None:
    status = to_status(error)
    assert status.ByteSize() <= MAX_STATUS_BYTES
    assert from_status(status).reason == error.reason
