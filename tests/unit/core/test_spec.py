from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.spec import SpecError, parse_spec
from tests.builders import PROPERTY

KNOWN = {"igw": {"tau": 1500.0}, "linucb": {"alpha": 0.1, "ridge": 1.0}, "static": {}}
numbers = st.floats(allow_nan=False, allow_infinity=False)


@PROPERTY
@given(numbers, numbers)
def test_given_parameters_replace_the_defaults(alpha: float, ridge: float) -> None:
    assert parse_spec(f"linucb:alpha={alpha!r}", KNOWN) == ("linucb", {"alpha": alpha, "ridge": 1.0})
    both = parse_spec(f"linucb:ridge={ridge!r},alpha={alpha!r}", KNOWN)
    assert both == ("linucb", {"alpha": alpha, "ridge": ridge})


@PROPERTY
@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        name, parameters = parse_spec(text, KNOWN)
    except SpecError:
        return
    assert parameters.keys() == KNOWN[name].keys()


@pytest.mark.parametrize("text", ["igw", "igw:"])
def test_a_bare_name_has_its_defaults(text: str) -> None:
    assert parse_spec(text, KNOWN) == ("igw", {"tau": 1500.0})


def test_reading_a_spec_leaves_the_defaults_alone() -> None:
    parse_spec("igw:tau=3", KNOWN)
    assert KNOWN["igw"] == {"tau": 1500.0}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "'' is not one of igw, linucb, static"),
        ("greedy", "'greedy' is not one of igw, linucb, static"),
        ("igw:tau", "igw:tau must be a number, got ''"),
        ("igw:tau=", "igw:tau must be a number, got ''"),
        ("igw:tau=fast", "igw:tau must be a number, got 'fast'"),
        ("igw:tau=inf", "igw:tau must be finite, got 'inf'"),
        ("igw:tau=nan", "igw:tau must be finite, got 'nan'"),
        ("igw:eta=1", "'igw' has no parameter 'eta'; it has tau"),
        ("static:arm=1", "'static' has no parameter 'arm'; it has none"),
    ],
)
def test_a_refusal_says_what_is_wrong(text: str, complaint: str) -> None:
    with pytest.raises(SpecError) as refusal:
        parse_spec(text, KNOWN)
    assert str(refusal.value) == complaint
