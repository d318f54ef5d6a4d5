from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.money import (
    MAX_LIMIT_NUSD,
    MAX_PRICE_NUSD_PER_MTOK,
    MoneyError,
    TokenPrices,
    format_price,
    format_usd,
    nusd_to_usd,
    parse_price,
    usd_to_nusd,
)
from tests.builders import PROPERTY, prices, token_counts

money = st.integers(0, MAX_LIMIT_NUSD)
decimals = st.decimals(min_value=0, max_value=9_000_000, allow_nan=False, allow_infinity=False)


@PROPERTY
@given(money)
def test_an_amount_reads_back_as_it_was_written(amount_nusd: int) -> None:
    assert usd_to_nusd(format_usd(amount_nusd)) == amount_nusd


@PROPERTY
@given(st.integers(0, MAX_PRICE_NUSD_PER_MTOK))
def test_a_price_reads_back_as_it_was_written(price: int) -> None:
    assert parse_price(format_price(price)) == price


@PROPERTY
@given(decimals)
def test_an_amount_is_rounded_up_to_whole_nano_usd(amount_usd: Decimal) -> None:
    assert usd_to_nusd(amount_usd) == math.ceil(Fraction(amount_usd) * 10**9)


def test_digits_beyond_the_precision_of_decimals_still_round_up() -> None:
    assert usd_to_nusd("0.0000000010000000000000000000000000000000001") == 2


def test_a_price_with_digits_beyond_the_precision_of_decimals_is_refused() -> None:
    with pytest.raises(MoneyError, match="nine decimals"):
        parse_price("1.0000000000000000000000000000000000000001")


@PROPERTY
@given(money)
def test_a_written_amount_has_no_exponent_and_no_trailing_zero_decimals(amount_nusd: int) -> None:
    text = format_usd(amount_nusd)
    assert set(text) <= set("0123456789.")
    assert "." not in text or text[-1] not in "0."


@pytest.mark.parametrize(
    ("amount_nusd", "text"), [(0, "0"), (1, "0.000000001"), (1_500_000_000, "1.5"), (10**10, "10")]
)
def test_amounts_are_written_for_people(amount_nusd: int, text: str) -> None:
    assert format_usd(amount_nusd) == text


@pytest.mark.parametrize("text", ["", "abc", "-1", "-0.000000001", "nan", "inf", "1e9999999", "1e400", "sNaN"])
def test_what_is_no_finite_amount_in_range_is_refused(text: str) -> None:
    for read in (usd_to_nusd, parse_price):
        with pytest.raises(MoneyError):
            read(text)


def test_a_price_finer_than_nine_decimals_is_refused() -> None:
    assert parse_price("0.000000001") == 1
    with pytest.raises(MoneyError, match="nine decimals"):
        parse_price("0.0000000001")


def test_display_amounts_are_plain_division() -> None:
    assert nusd_to_usd(2_500_000_000) == 2.5


@PROPERTY
@given(prices, token_counts, token_counts, st.data())
def test_a_cost_is_exact_and_rounded_up(
    list_prices: TokenPrices, inputs: int, outputs: int, data: st.DataObject
) -> None:
    cached = data.draw(st.integers(0, inputs))
    exact = Fraction(
        (inputs - cached) * list_prices.input_nusd_per_mtok
        + cached * list_prices.cached_input_nusd_per_mtok
        + outputs * list_prices.output_nusd_per_mtok,
        10**6,
    )
    cost_nusd = list_prices.cost_nusd(input_tokens=inputs, output_tokens=outputs, cached_input_tokens=cached)
    assert cost_nusd == math.ceil(exact)


@PROPERTY
@given(prices, token_counts, token_counts, st.data())
def test_no_share_of_cached_tokens_costs_more_than_the_dearest_and_one_costs_as_much(
    list_prices: TokenPrices, inputs: int, outputs: int, data: st.DataObject
) -> None:
    def cost_nusd(cached: int) -> int:
        return list_prices.cost_nusd(input_tokens=inputs, output_tokens=outputs, cached_input_tokens=cached)

    dearest_nusd = list_prices.dearest_nusd(input_tokens=inputs, output_tokens=outputs)
    assert cost_nusd(data.draw(st.integers(0, inputs))) <= dearest_nusd
    assert dearest_nusd in (cost_nusd(0), cost_nusd(inputs))


@PROPERTY
@given(prices, token_counts, token_counts, st.integers(0, 1000))
def test_more_tokens_never_cost_less(list_prices: TokenPrices, inputs: int, outputs: int, more: int) -> None:
    cost_nusd = list_prices.cost_nusd(input_tokens=inputs, output_tokens=outputs)
    assert list_prices.cost_nusd(input_tokens=inputs + more, output_tokens=outputs) >= cost_nusd
    assert list_prices.cost_nusd(input_tokens=inputs, output_tokens=outputs + more) >= cost_nusd


@PROPERTY
@given(prices, token_counts, token_counts, st.data())
def test_output_tokens_are_found_again_from_the_bill(
    list_prices: TokenPrices, inputs: int, outputs: int, data: st.DataObject
) -> None:
    cached = data.draw(st.integers(0, inputs))
    cost_nusd = list_prices.cost_nusd(input_tokens=inputs, output_tokens=outputs, cached_input_tokens=cached)
    found = list_prices.output_tokens_of(cost_nusd, input_tokens=inputs, cached_input_tokens=cached)
    if list_prices.output_nusd_per_mtok == 0:
        assert found is None
    else:
        assert found is not None
        rounding_tokens = 10**6 / list_prices.output_nusd_per_mtok
        assert abs(found - outputs) <= rounding_tokens * (1 + 1e-9) + 1e-9 * outputs


def test_a_bill_below_its_input_cost_shows_no_output() -> None:
    assert TokenPrices(10**9, 10**9, 0).output_tokens_of(5, input_tokens=1000) == 0.0


def test_the_cost_of_any_token_counts_on_the_wire_fits_in_64_bits() -> None:
    dearest = TokenPrices(*[MAX_PRICE_NUSD_PER_MTOK] * 3)
    most = 2**31 - 1
    assert dearest.cost_nusd(input_tokens=most, output_tokens=most, cached_input_tokens=most) < 2**63
    with pytest.raises(MoneyError, match="is above 1000000"):
        parse_price("1000000.000000001")
