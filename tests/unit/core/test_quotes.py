from __future__ import annotations

import pytest

from bandit_router.core.quotes import ArmQuote, Quotes
from tests.builders import make_quote, make_quotes

ROWS = [make_quote("a", hold_nusd=1), make_quote("b", hold_nusd=2, excluded_because="disabled"), make_quote("c")]
QUOTES = make_quotes(*ROWS)


def test_quotes_are_the_rows_that_they_were_made_of() -> None:
    assert list(QUOTES) == ROWS
    assert [QUOTES[position] for position in range(len(QUOTES))] == ROWS
    assert QUOTES[-1] == ROWS[-1]
    assert QUOTES[1:] == tuple(ROWS[1:])
    assert ROWS[1] in QUOTES
    assert [ArmQuote(*row) for row in QUOTES.rows()] == ROWS


def test_columns_stand_in_the_order_of_the_fields_of_a_row() -> None:
    columns = [list(column) for column in zip(*QUOTES.rows(), strict=True)]
    assert columns == [[getattr(row, name) for row in ROWS] for name in ArmQuote._fields]
    assert (list(QUOTES.arm_ids), list(QUOTES.holds_nusd)) == (["a", "b", "c"], [1, 2, 100])


def test_quotes_are_equal_if_their_rows_are() -> None:
    assert make_quotes(*ROWS) == QUOTES
    assert hash(make_quotes(*ROWS)) == hash(QUOTES)
    assert make_quotes(*ROWS[::-1]) != QUOTES
    assert tuple(ROWS) != QUOTES


def test_there_may_be_no_arms_and_no_row_may_be_short() -> None:
    assert list(Quotes.of([])) == []
    with pytest.raises(ValueError, match="shorter"):
        Quotes.of([ROWS[0], ROWS[1][:-1]])
    with pytest.raises(IndexError):
        QUOTES[3]
