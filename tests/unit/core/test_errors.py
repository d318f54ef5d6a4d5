from __future__ import annotations

import inspect
import pickle

import pytest

from bandit_router.core import errors

SAMPLES = (
    errors.InvalidRequest.of("reward", "must be in [0, 1]"),
    errors.ResourceNotFound("tenant", "acme"),
    errors.DecisionNotFound("d"),
    errors.DecisionExpired("d"),
    errors.BudgetExhausted("acme", free_nusd=1, least_hold_nusd=2, retry_after_s=None),
    errors.NoFeasibleArm({"small": "disabled"}),
    errors.StoreAway("down"),
    errors.Conflict("changed"),
    errors.AlreadyExists("pool", "p"),
    errors.ResourceInUse("used"),
    errors.DataLoss("damaged"),
    errors.EventsTrimmed("pool"),
    errors.StateUnreadable("pool", "damaged"),
    errors.NotOffered("not by this store"),
    errors.StateTooNewHere("format 3"),
    errors.StoreNotEmpty("two pools"),
)
STATUS = {
    "InvalidRequest": ("INVALID_ARGUMENT", "VALIDATION"),
    "ResourceNotFound": ("NOT_FOUND", "TENANT_NOT_FOUND"),
    "DecisionNotFound": ("NOT_FOUND", "DECISION_NOT_FOUND"),
    "DecisionExpired": ("NOT_FOUND", "DECISION_EXPIRED"),
    "BudgetExhausted": ("RESOURCE_EXHAUSTED", "BUDGET_EXHAUSTED"),
    "NoFeasibleArm": ("FAILED_PRECONDITION", "NO_FEASIBLE_ARM"),
    "StoreAway": ("UNAVAILABLE", "STORE_UNAVAILABLE"),
    "Conflict": ("ABORTED", "CONFLICT"),
    "AlreadyExists": ("ALREADY_EXISTS", "POOL_ALREADY_EXISTS"),
    "ResourceInUse": ("FAILED_PRECONDITION", "RESOURCE_IN_USE"),
    "DataLoss": ("DATA_LOSS", "DATA_LOSS"),
    "EventsTrimmed": ("OUT_OF_RANGE", "EVENTS_TRIMMED"),
    "StateUnreadable": ("UNAVAILABLE", "STATE_UNREADABLE"),
    "NotOffered": ("UNIMPLEMENTED", "NOT_OFFERED"),
    "StateTooNewHere": ("FAILED_PRECONDITION", "STATE_TOO_NEW"),
    "StoreNotEmpty": ("FAILED_PRECONDITION", "STORE_NOT_EMPTY"),
}


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_carries_its_status_and_a_message(error: errors.RouterError) -> None:
    assert (error.code, error.reason) == STATUS[type(error).__name__]
    assert error.message
    assert str(error) == error.message


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
def test_every_error_reaches_another_process_whole(error: errors.RouterError) -> None:
    found = pickle.loads(pickle.dumps(error))
    assert (type(found), str(found), vars(found)) == (type(error), str(error), vars(error))


def test_no_error_is_left_out_of_these_tests() -> None:
    kinds = {c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.RouterError)}
    assert kinds == {type(error) for error in SAMPLES} | {errors.RouterError}


def test_a_store_that_cannot_be_read_says_which_version_it_needs() -> None:
    error = errors.StateUnreadable.of_store(needs=3, known=2)
    assert str(error) == (
        "the store cannot be read by this replica: it needs schema version 3, this code knows up to 2"
    )


def test_an_invalid_request_names_every_field() -> None:
    violations = [errors.FieldViolation("a", "is bad"), errors.FieldViolation("b", "is worse")]
    error = errors.InvalidRequest(violations)
    assert error.violations == tuple(violations)
    assert error.message == "a: is bad; b: is worse"


def test_a_refused_request_says_which_rule_excluded_which_arm() -> None:
    assert str(errors.NoFeasibleArm({"a": "disabled", "b": "not_allowed"})) == (
        "every arm is excluded: a (disabled), b (not_allowed)"
    )
    assert "no arms" in str(errors.NoFeasibleArm({}))
