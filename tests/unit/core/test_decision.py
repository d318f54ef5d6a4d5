from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.choice import candidates, draw_arm, draw_reason, weigh_round
from bandit_router.core.decision import Baseline, Decision, Reason, Round, arms_that_fit, propensities_of
from bandit_router.core.draw import uniform
from bandit_router.core.explorations.registry import Exploration
from bandit_router.core.quotes import Quotes
from tests.builders import PROPERTY, SMALLEST_P_VALUE, chi_square_p_value, make_decision, make_quote, make_quotes

SCALE = 20.0
IGW = Exploration("igw", SCALE)


def quotes_of(holds: list[int], scores: list[float]) -> Quotes:
    return make_quotes(
        *[make_quote(f"arm{i}", hold_nusd=h, score=s) for i, (h, s) in enumerate(zip(holds, scores, strict=True))]
    )


def simulate(quotes: Quotes, frees: list[int], key: str) -> Decision | None:
    """The procedure of Route where `frees[i]` is free when the i-th hold is tried."""
    arms, rounds = candidates(quotes), ()
    for index, free_nusd in enumerate(frees):
        draw = weigh_round(quotes, arms, IGW, seed=0, key="")
        rounds = (*rounds, draw)
        chosen = draw_arm(draw, uniform(5, key, index))
        if quotes[chosen].hold_nusd <= free_nusd:
            return make_decision(quotes=quotes, rounds=rounds, chosen=chosen, exploration=IGW, snapshot_version=index)
        arms = candidates(quotes, free_nusd=free_nusd)
        if not arms:
            return None
    return None


def propensities(decision: Decision, frees: list[int]) -> dict[str, float]:
    """As Route reports them: from the record and what was free at the hold."""
    free_nusd = frees[decision.snapshot_version]
    fitting = arms_that_fit(decision, free_nusd=free_nusd)
    return propensities_of(decision, last_round=weigh_round(decision.quotes, fitting, IGW, seed=0, key=""))


def enumerate_exactly(quotes: Quotes, free_nusd: int) -> dict[str, float]:
    """P(A) where the same amount stays free: by the formula p_F(A) + Σ_{j∉F'} p_F(j)·p_F'(A), term by term."""
    everything, fitting = candidates(quotes), candidates(quotes, free_nusd=free_nusd)
    first, second = (
        weigh_round(quotes, everything, IGW, seed=0, key=""),
        weigh_round(quotes, fitting, IGW, seed=0, key=""),
    )
    return {
        quotes[a].arm_id: first.probability_of(a)
        + sum(first.probability_of(j) * second.probability_of(a) for j in everything if j not in fitting)
        for a in fitting
    }


arm_lists = st.lists(st.tuples(st.integers(1, 100), st.floats(0, 1)), min_size=1, max_size=6)


@PROPERTY
@given(arm_lists, st.integers(1, 100), st.integers(0, 1000))
def test_propensities_equal_the_formula_of_the_whole_procedure(
    arms: list[tuple[int, float]], free_nusd: int, request: int
) -> None:
    quotes = quotes_of([h for h, _ in arms], [s for _, s in arms])
    decision = simulate(quotes, [free_nusd, free_nusd], f"r{request}")
    if decision is not None:
        assert propensities(decision, [free_nusd] * 2) == pytest.approx(enumerate_exactly(quotes, free_nusd))


@PROPERTY
@given(arm_lists, st.lists(st.integers(1, 100), min_size=3, max_size=3), st.integers(0, 1000))
def test_propensities_sum_to_one_also_when_money_moves_between_draws(
    arms: list[tuple[int, float]], frees: list[int], request: int
) -> None:
    quotes = quotes_of([h for h, _ in arms], [s for _, s in arms])
    decision = simulate(quotes, frees, f"r{request}")
    if decision is not None:
        found = propensities(decision, frees)
        assert sum(found.values()) == pytest.approx(1.0, abs=1e-12)
        assert found[decision.arm_id] > 0.0


@PROPERTY
@given(arm_lists, st.integers(1, 100), st.lists(st.integers(0, 1000), min_size=2, max_size=5))
def test_every_draw_of_one_procedure_reports_the_same_propensities(
    arms: list[tuple[int, float]], free_nusd: int, requests: list[int]
) -> None:
    quotes = quotes_of([h for h, _ in arms], [s for _, s in arms])
    decisions = [d for r in requests if (d := simulate(quotes, [free_nusd] * 2, f"r{r}")) is not None]
    for one, other in pairwise(decisions):
        assert propensities(one, [free_nusd] * 2) == pytest.approx(propensities(other, [free_nusd] * 2))


PROCEDURES = [
    ([10, 20, 30], [0.5, 0.52, 0.55], [100, 100]),
    ([10, 20, 30], [0.5, 0.52, 0.55], [25, 25]),
    ([10, 20, 30], [0.5, 0.52, 0.55], [15, 15]),
    ([10, 20, 30, 40, 50], [0.9, 0.1, 0.5, 0.52, 0.7], [35, 35]),
    ([10, 20, 30, 30], [0.5, 0.52, 0.55, 0.2], [30, 30]),
]


@pytest.mark.parametrize(("holds", "scores", "frees"), PROCEDURES)
def test_reported_propensities_are_the_frequencies_of_the_procedure(
    holds: list[int], scores: list[float], frees: list[int]
) -> None:
    quotes = quotes_of(holds, scores)
    decisions = [simulate(quotes, frees, f"r{index}") for index in range(2000)]
    chosen = Counter(d.arm_id for d in decisions if d is not None)
    assert chosen.total() == len(decisions)
    reported = propensities(decisions[0], frees)
    arm_ids = [q.arm_id for q in quotes]
    p_value = chi_square_p_value([chosen[a] for a in arm_ids], [reported.get(a, 0.0) for a in arm_ids])
    assert p_value > SMALLEST_P_VALUE


def test_three_draws_with_money_going_down_have_the_frequencies_that_are_reported() -> None:
    frees = [45, 25, 25]
    quotes = quotes_of([10, 20, 30, 40, 50], [0.5, 0.52, 0.6, 0.62, 0.65])
    by_length: dict[int, Counter[str]] = {}
    reported: dict[int, dict[str, float]] = {}
    for index in range(3_000):
        decision = simulate(quotes, frees, f"r{index}")
        assert decision is not None
        by_length.setdefault(len(decision.rounds), Counter())[decision.arm_id] += 1
        reported[len(decision.rounds)] = propensities(decision, frees)
    # Whoever needed two draws saw 45, then 25 free: given that, arms come as often as the last round says.
    two = by_length[2]
    last = weigh_round(quotes, (0, 1), IGW, seed=0, key="")
    direct = weigh_round(quotes, (0, 1, 2, 3), IGW, seed=0, key="")
    expected = [direct.probability_of(a) for a in (0, 1)]
    assert chi_square_p_value([two["arm0"], two["arm1"]], [p / sum(expected) for p in expected]) > SMALLEST_P_VALUE
    three = by_length[3]
    assert chi_square_p_value([three["arm0"], three["arm1"]], last.probabilities) > SMALLEST_P_VALUE
    assert reported[2] == pytest.approx(reported[3])


def test_an_arm_outside_a_round_has_no_probability_in_it() -> None:
    assert Round((0, 2), (0.25, 0.75)).probability_of(1) == 0.0
    assert Round((0, 2), (0.25, 0.75)).probability_of(2) == 0.75


def test_only_arms_of_the_last_round_may_fit() -> None:
    quotes = quotes_of([10, 20, 30], [0.1, 0.2, 0.3])
    decision = make_decision(quotes=quotes, rounds=(Round((0, 2), (0.5, 0.5)),), chosen=0)
    assert arms_that_fit(decision, free_nusd=25) == (0,)
    assert arms_that_fit(decision, free_nusd=30) == (0, 2)


def test_a_decision_tells_its_arm_and_hold() -> None:
    decision = make_decision(quotes=quotes_of([10, 20], [0.1, 0.2]), chosen=1)
    assert (decision.arm_id, decision.hold_nusd, decision.quote.score) == ("arm1", 20, 0.2)


def test_rounding_never_makes_a_certain_arm_more_than_certain() -> None:
    """0.1 + 0.2 + 0.7 of dearer arms that did not fit are all carried over to the one that did."""
    quotes = make_quotes(*[make_quote(name) for name in ("a", "b", "c", "d")])
    first = Round((0, 1, 2, 3), (0.1, 0.2, 0.7, 2.2e-16))
    decision = make_decision(quotes=quotes, rounds=(first,), chosen=3)
    assert propensities_of(decision, last_round=Round((3,), (1.0,))) == {"d": 1.0}


shares = st.floats(0, 0.5)


@PROPERTY
@given(shares, shares, st.integers(0, 3))
def test_a_baselines_draw_selects_arms_as_its_mixed_round_says(
    holdout: float, apprentice: float, position: int
) -> None:
    policy, baseline = Round((0, 1, 3), (0.2, 0.5, 0.3)), Baseline(position, holdout, apprentice)
    mixed = baseline.mixed(policy)
    assert sum(mixed.probabilities) == pytest.approx(1.0)
    steps = 2000
    drawn = [draw_reason(policy, (step + 0.5) / steps, baseline) for step in range(steps)]
    for arm in policy.arms:
        share = sum(found == arm for found, _ in drawn) / steps
        assert share == pytest.approx(mixed.probability_of(arm), abs=5 / steps)
    kept = {Reason.HOLDOUT: holdout, Reason.APPRENTICE: apprentice} if position in policy.arms else {}
    for reason in (Reason.HOLDOUT, Reason.APPRENTICE):
        share = sum(found is reason for _, found in drawn) / steps
        assert share == pytest.approx(kept.get(reason, 0.0), abs=2 / steps)
    assert all(found == position for found, reason in drawn if reason is not Reason.POLICY)
