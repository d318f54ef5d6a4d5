from __future__ import annotations

import numpy as np
import pytest

from bandit_router_sim.compare.tasks import PEER, POLICY, REFERENCE
from bandit_router_sim.peers.registry import PEERS
from bandit_router_sim.references.registry import REFERENCES
from bandit_router_sim.replay.setting import POLICIES
from bandit_router_sim.report import series
from bandit_router_sim.report.drawing import log_money_axis
from bandit_router_sim.report.legend import policy_keys
from bandit_router_sim.report.numbers import percent, signed, tick, usd, usd_per_thousand
from bandit_router_sim.report.styles import arm_colours, budget_colours, styles_of
from tests.builders import generator

KINDS = {
    **dict.fromkeys(POLICIES, POLICY),
    **dict.fromkeys(PEERS, PEER),
    **dict.fromkeys(REFERENCES, REFERENCE),
}


def contrast_with_white(colour: str) -> float:
    """Contrast ratio of WCAG 2."""
    channels = [int(colour[i : i + 2], 16) / 255.0 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 1.05 / (float(np.dot(linear, [0.2126, 0.7152, 0.0722])) + 0.05)


@pytest.mark.parametrize("count", [1, 2, 159, 160, 161, 100_000])
def test_thinning_keeps_both_ends_and_the_order(count: int) -> None:
    positions = series.thinned(count)
    assert positions[0] == 0
    assert positions[-1] == count - 1
    assert len(positions) == min(count, series.POINTS)
    assert np.all(np.diff(positions) > 0)


def test_spend_ends_at_the_utilisation() -> None:
    costs = np.array([1.0, 2.0, 0.0, 3.0])
    assert series.spent_share(costs, budget_usd=2.0).tolist() == [0.125, 0.375, 0.375, 0.75]


def test_regret_adds_up_what_the_best_had_more() -> None:
    assert series.cumulative_regret(np.array([1.0, 0.0, 0.5]), np.ones(3)).tolist() == [0.0, 1.0, 1.5]


def test_calibration_bins_hold_equally_many_in_the_order_of_expectation() -> None:
    source = generator(3)
    expected = source.random(1000)
    realised = (source.random(1000) < expected).astype(np.float64)
    found = series.calibration(expected, realised, np.arange(1000))
    assert np.all(np.diff(found.expected) > 0.0)
    assert found.expected.mean() == pytest.approx(expected.mean())
    assert found.realised.mean() == pytest.approx(realised.mean())
    assert np.all(np.abs(found.expected - found.realised) < 2.0 * found.half_width + 0.05)


def test_the_same_queries_seen_again_do_not_narrow_an_interval() -> None:
    source = generator(4)
    expected, realised, request = source.random(500), source.random(500), np.arange(500)
    once = series.calibration(expected, realised, request)
    twice = series.calibration(np.repeat(expected, 2), np.repeat(realised, 2), np.repeat(request, 2))
    assert np.allclose(once.half_width, twice.half_width)


def test_a_distribution_rises_to_one() -> None:
    values, shares = series.distribution(np.array([0.5, 0.1, 0.9]))
    assert values.tolist() == [0.1, 0.5, 0.9]
    assert shares.tolist() == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_styles_of_known_policies_differ_and_can_be_seen() -> None:
    styles = styles_of(KINDS)
    assert len(set(styles.values())) == len(KINDS)
    assert all(contrast_with_white(style.colour) >= 3.0 for style in styles.values())
    assert min(style.width for style in styles.values()) < styles["default"].width
    assert all(styles[name].dash != "solid" for name in REFERENCES)


def test_a_policy_looks_the_same_whoever_else_ran() -> None:
    assert styles_of({"linucb": PEER})["linucb"] == styles_of(KINDS)["linucb"]


def test_policies_nobody_has_heard_of_get_styles_and_keys_of_their_own() -> None:
    kinds = {f"new{number}": REFERENCE if number % 3 == 0 else PEER for number in range(8)}
    styles = styles_of(kinds)
    assert len(set(styles.values())) == len(kinds)
    assert all(contrast_with_white(style.colour) >= 3.0 for style in styles.values())
    assert [key.name for key in policy_keys(kinds, styles)] == list(kinds)


def test_colours_of_budgets_can_be_seen_and_those_of_arms_differ() -> None:
    assert all(contrast_with_white(colour) >= 2.0 for colour in budget_colours(8))
    assert len(set(arm_colours(12))) == 12
    assert len(budget_colours(1)) == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (usd(0.0), "$0"),
        (usd(0.03124), "$0.0312"),
        (usd(1.4444), "$1.44"),
        (usd(999.6), "$1,000"),
        (usd(1234.5), "$1,234"),
        (usd(9.996), "$10.00"),
        (usd(float("nan")), "–"),
        (usd_per_thousand(1.38e-4), "$0.138"),
        (tick(0.05), "$0.05"),
        (tick(2000.0), "$2,000"),
        (signed(0.01234), "+0.0123"),
        (signed(-0.5), "−0.5000"),
        (signed(-0.00001), "0.0000"),
        (percent(0.0), "0\u00a0%"),
        (percent(0.0001), "<0.1\u00a0%"),
        (percent(0.0123), "1.2\u00a0%"),
        (percent(0.999), "100\u00a0%"),
    ],
)
def test_numbers_are_written_for_people(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize(("low", "high"), [(1.0, 2.0), (0.02, 0.9), (0.01, 20.0), (1e-4, 1e4), (0.95, 1.05)])
def test_an_axis_of_money_has_some_ticks_within_its_range_but_not_too_many(low: float, high: float) -> None:
    values = log_money_axis(low, high)["tickvals"]
    assert 1 <= len(values) <= 9
    assert all(low <= value <= high for value in values)
