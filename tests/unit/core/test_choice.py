from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.arm_table import ArmTable
from bandit_router.core.budget_policies.protocol import LinearCharge
from bandit_router.core.choice import (
    HOLD_QUANTILE_95,
    Query,
    candidates,
    draw_arm,
    quote_arms,
    weigh_round,
)
from bandit_router.core.draw import uniform
from bandit_router.core.explorations.registry import Exploration
from bandit_router.core.learners.registry import LEARNERS, parse_learner
from bandit_router.core.model import build_model, capped_tokens
from bandit_router.core.money import TOKENS_PER_MTOK
from bandit_router.core.pool_state import PoolState
from bandit_router.core.quotes import Quotes
from bandit_router.core.resources import Arm, HoldPolicy
from tests.builders import (
    LARGE,
    MEDIUM,
    PROPERTY,
    SMALL,
    SMALLEST_P_VALUE,
    chi_square_p_value,
    make_arm,
    make_prices,
    make_query,
    make_quote,
    make_quotes,
    prices,
)

ARMS = (SMALL, MEDIUM, LARGE)


def table_of(arms: tuple[Arm, ...]) -> ArmTable:
    return ArmTable.of(build_model(PoolState(4), [arm.arm_id for arm in arms], parse_learner("linucb")), arms)


def quotes_of(
    query: Query,
    arms: tuple[Arm, ...] = ARMS,
    *,
    price_per_usd: float = 0.0,
    hold_policy: HoldPolicy = HoldPolicy.WORST_CASE,
) -> Quotes:
    return quote_arms(table_of(arms), query, charge=LinearCharge(price_per_usd), hold_policy=hold_policy)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    prompt_tokens = draw(st.integers(0, 10**5))
    return make_query(
        context=(1.0, *draw(st.lists(st.floats(-5, 5), min_size=3, max_size=3))),
        prompt_tokens=prompt_tokens,
        most_prompt_tokens=prompt_tokens + draw(st.integers(0, 10**5)),
        max_output_tokens=draw(st.none() | st.integers(1, 10**5)),
        last_arm_id=draw(st.sampled_from(["", "small", "large"])),
        cached_tokens=draw(st.integers(0, 10**5)),
    )


arms = st.builds(Arm, arm_id=st.just("small"), prices=prices, max_output_tokens=st.integers(1, 10**5))


@PROPERTY
@given(arms, queries(), st.data())
def test_a_worst_case_hold_covers_every_bill_within_the_maxima(arm: Arm, query: Query, data: st.DataObject) -> None:
    (quote,) = quotes_of(query, (arm,))
    inputs = data.draw(st.integers(0, query.most_prompt_tokens))
    bill_nusd = arm.prices.cost_nusd(
        input_tokens=inputs,
        output_tokens=data.draw(st.integers(0, query.most_output_tokens(arm))),
        cached_input_tokens=data.draw(st.integers(0, inputs)),
    )
    assert bill_nusd <= quote.hold_nusd


@PROPERTY
@given(arms, queries())
def test_costs_and_holds_are_the_exact_prices_of_what_is_expected_and_of_the_longest_answer(
    arm: Arm, query: Query
) -> None:
    (quote,) = quotes_of(query, (arm,))
    assert quote.expected_cost_nusd == arm.prices.cost_nusd(
        input_tokens=query.prompt_tokens,
        output_tokens=math.ceil(quote.expected_output_tokens),
        cached_input_tokens=query.cached_tokens_at(arm),
    )
    assert quote.hold_nusd == arm.prices.dearest_nusd(
        input_tokens=query.most_prompt_tokens, output_tokens=query.most_output_tokens(arm)
    )


@PROPERTY
@given(arms, queries(), st.floats(-5, 900))
def test_the_expected_answer_is_that_of_the_token_model_capped(arm: Arm, query: Query, level: float) -> None:
    table = table_of((replace(arm, max_output_tokens=10**8),))
    tokens = table.model.tokens
    levelled = replace(tokens, mean=np.array([[level, 0.0, 0.0, 0.0]]))
    table = replace(table, model=replace(table.model, tokens=levelled))
    (quote,) = quote_arms(table, query, charge=LinearCharge(0.0), hold_policy=HoldPolicy.WORST_CASE)
    most = query.most_output_tokens(table.arms[0])
    assert quote.expected_output_tokens == capped_tokens(level + float(tokens.lift[0]), most)
    assert isinstance(quote.expected_output_tokens, float)


@PROPERTY
@given(arms, queries())
def test_the_expected_cost_never_exceeds_the_worst_case(arm: Arm, query: Query) -> None:
    (quote,) = quotes_of(query, (arm,))
    assert 0 <= quote.expected_cost_nusd <= quote.hold_nusd


@PROPERTY
@given(arms, queries())
def test_holds_grow_from_expected_over_quantile_to_worst_case(arm: Arm, query: Query) -> None:
    expected, quantile, worst = (
        quotes_of(query, (arm,), hold_policy=policy)[0].hold_nusd
        for policy in (HoldPolicy.EXPECTED, HoldPolicy.QUANTILE, HoldPolicy.WORST_CASE)
    )
    assert expected <= quantile <= worst


@PROPERTY
@given(queries(), st.floats(0, 1e6))
def test_scores_are_linear_in_dollars(query: Query, price_per_usd: float) -> None:
    free, priced = quotes_of(query), quotes_of(query, price_per_usd=price_per_usd)
    for before, after in zip(free, priced, strict=True):
        assert after.score == pytest.approx(before.score - price_per_usd * before.expected_cost_nusd / 1e9)


@PROPERTY
@given(arms, queries())
def test_a_quantile_hold_is_the_exact_price_of_the_long_answer_capped(arm: Arm, query: Query) -> None:
    (quote,) = quotes_of(query, (arm,), hold_policy=HoldPolicy.QUANTILE)
    tokens = table_of((arm,)).model.tokens
    long = float(tokens.mean[0].dot(query.context)) + HOLD_QUANTILE_95 * float(tokens.sd[0])
    assert quote.hold_nusd == arm.prices.dearest_nusd(
        input_tokens=query.most_prompt_tokens,
        output_tokens=math.ceil(capped_tokens(long, query.most_output_tokens(arm))),
    )


def test_an_expected_hold_is_the_expected_cost() -> None:
    for quote in quotes_of(make_query(), hold_policy=HoldPolicy.EXPECTED):
        assert quote.hold_nusd == quote.expected_cost_nusd


def test_a_quantile_hold_lies_between_the_expected_cost_and_the_worst_case() -> None:
    (quote,) = quotes_of(make_query(), (replace(SMALL, max_output_tokens=10**6),), hold_policy=HoldPolicy.QUANTILE)
    (worst,) = quotes_of(make_query(), (replace(SMALL, max_output_tokens=10**6),))
    assert quote.expected_cost_nusd < quote.hold_nusd < worst.hold_nusd


def test_a_quantile_hold_is_exceeded_by_one_answer_in_twenty_of_those_that_the_model_expects() -> None:
    arm, query = replace(SMALL, max_output_tokens=10**6), make_query()
    (quote,) = quotes_of(query, (arm,), hold_policy=HoldPolicy.QUANTILE)
    tokens = table_of((arm,)).model.tokens
    answers = NormalDist(float(tokens.mean[0].dot(query.context)), float(tokens.sd[0]))
    output_nusd = quote.hold_nusd - arm.prices.dearest_nusd(input_tokens=query.most_prompt_tokens, output_tokens=0)
    held_tokens = output_nusd * TOKENS_PER_MTOK / arm.prices.output_nusd_per_mtok
    assert held_tokens == pytest.approx(math.exp(answers.inv_cdf(0.95)), rel=0.01)


def test_output_is_capped_by_the_request_and_by_the_arm() -> None:
    assert make_query(max_output_tokens=10).most_output_tokens(SMALL) == 10
    assert make_query(max_output_tokens=10**6).most_output_tokens(SMALL) == SMALL.max_output_tokens
    assert make_query().most_output_tokens(SMALL) == SMALL.max_output_tokens


def test_a_shorter_maximum_makes_smaller_holds_and_expected_costs() -> None:
    for short, long in zip(quotes_of(make_query(max_output_tokens=10)), quotes_of(make_query()), strict=True):
        assert short.hold_nusd < long.hold_nusd
        assert short.expected_cost_nusd < long.expected_cost_nusd
        assert short.expected_output_tokens <= 10


def test_only_the_sessions_last_arm_has_the_prompt_in_its_cache() -> None:
    query = make_query(prompt_tokens=100, last_arm_id="medium", cached_tokens=80)
    assert [query.cached_tokens_at(arm) for arm in ARMS] == [0, 80, 0]
    plain = make_query(prompt_tokens=100)
    saved = [
        b.expected_cost_nusd - a.expected_cost_nusd for a, b in zip(quotes_of(query), quotes_of(plain), strict=True)
    ]
    assert saved == [0, 80 * (1000 - 200), 0]


def test_no_more_tokens_are_cached_than_the_prompt_has() -> None:
    assert make_query(prompt_tokens=100, last_arm_id="small", cached_tokens=500).cached_tokens_at(SMALL) == 100


def test_a_worst_case_hold_counts_on_no_cache() -> None:
    cached = quotes_of(make_query(last_arm_id="small", cached_tokens=80))
    assert [q.hold_nusd for q in cached] == [q.hold_nusd for q in quotes_of(make_query())]


def test_the_expected_cost_is_the_list_price_of_the_expected_tokens() -> None:
    (quote,) = quotes_of(make_query(prompt_tokens=100), (make_arm(prices=make_prices(1, 2)),))
    assert quote.expected_output_tokens % 1.0
    assert quote.expected_cost_nusd == 100 * 1000 + math.ceil(quote.expected_output_tokens) * 2000


LEVEL = LEARNERS["linucb"].defaults["level"]


@pytest.mark.parametrize(
    ("arm", "query", "reason"),
    [
        (SMALL, make_query(), ""),
        (replace(SMALL, enabled=False), make_query(), "disabled"),
        (replace(SMALL, draining=True), make_query(), "draining"),
        (SMALL, make_query(allowed_arm_ids=frozenset(["large"])), "not_allowed"),
        (SMALL, make_query(allowed_arm_ids=frozenset(["small"])), ""),
        (SMALL, make_query(max_cost_nusd=0), "max_cost_nusd"),
        (SMALL, make_query(max_cost_nusd=10**12), ""),
        (SMALL, make_query(min_expected_reward=LEVEL + 0.01), "min_expected_reward"),
        (SMALL, make_query(min_expected_reward=LEVEL - 0.01), ""),
    ],
)
def test_each_rule_that_excludes_an_arm_is_named(arm: Arm, query: Query, reason: str) -> None:
    assert quotes_of(query, (arm,))[0].excluded_because == reason


def test_an_arm_that_costs_exactly_the_maximum_may_be_chosen() -> None:
    (quote,) = quotes_of(make_query(), (SMALL,))
    assert not quotes_of(make_query(max_cost_nusd=quote.expected_cost_nusd), (SMALL,))[0].excluded_because
    assert quotes_of(make_query(max_cost_nusd=quote.expected_cost_nusd - 1), (SMALL,))[0].excluded_because


def test_candidates_are_the_allowed_arms_whose_hold_fits() -> None:
    quotes = make_quotes(
        make_quote("a", hold_nusd=10),
        make_quote("b", hold_nusd=20, excluded_because="disabled"),
        make_quote("c"),
    )
    assert candidates(quotes) == (0, 2)
    assert candidates(quotes, free_nusd=100) == (0, 2)
    assert candidates(quotes, free_nusd=99) == (0,)
    assert candidates(quotes, free_nusd=9) == ()


def test_a_round_is_drawn_over_its_arms_only_and_as_often_as_it_says() -> None:
    quotes = make_quotes(*[make_quote(str(i), score=s) for i, s in enumerate([0.5, 0.9, 0.52, 0.4])])
    draw = weigh_round(quotes, (0, 2, 3), Exploration("igw", 30.0), seed=0, key="")
    assert draw.arms == (0, 2, 3)
    assert sum(draw.probabilities) == pytest.approx(1.0)
    counts = Counter(draw_arm(draw, uniform(1, f"r{i}")) for i in range(10_000))
    assert (
        chi_square_p_value([counts[i] for i in range(4)], [draw.probability_of(i) for i in range(4)]) > SMALLEST_P_VALUE
    )


@PROPERTY
@given(st.lists(st.integers(0, 10**5), min_size=1, max_size=5))
def test_reservoir_costs_are_the_quoted_expected_costs_up_to_rounding(prompts: list[int]) -> None:
    contexts = np.tile([1.0, 0.1, -0.2, 0.3], (len(prompts), 1))
    table = table_of(ARMS)
    found = table.costs_usd(table.model.predict(contexts), np.array(prompts, dtype=np.float64))
    for row, prompt in zip(found, prompts, strict=True):
        quotes = quotes_of(make_query(contexts[0].tolist(), prompt_tokens=prompt))
        for arm, cost_usd, quote in zip(ARMS, row, quotes, strict=True):
            one_token_usd = arm.prices.output_nusd_per_mtok / 1e15
            assert 0 <= quote.expected_cost_nusd / 1e9 - cost_usd <= one_token_usd * 1.001 + 1e-9
