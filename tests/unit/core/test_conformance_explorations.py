"""What every exploration layer owes: exact probabilities, of single draws and of the whole procedure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.choice import candidates, draw_arm, weigh_round
from bandit_router.core.codec import decode_decision, encode_decision
from bandit_router.core.decision import Decision
from bandit_router.core.draw import uniform
from bandit_router.core.explorations.normals import batch_normals, keyed_normals
from bandit_router.core.explorations.registry import EXPLORATIONS, FIXED_SHARES, Exploration, parse_exploration
from bandit_router.core.quotes import Quotes
from bandit_router.service.route import exact_propensities
from tests.builders import FEW, SMALLEST_P_VALUE, chi_square_p_value, make_decision, make_quote, make_quotes

LAYERS = {
    **{name: parse_exploration(name) for name in EXPLORATIONS},
    "igw:tau=20": parse_exploration("igw:tau=20"),
    "softmax:temperature=0.1,floor=0.1": parse_exploration("softmax:temperature=0.1,floor=0.1"),
    "epsilon_floor:epsilon=0.4": parse_exploration("epsilon_floor:epsilon=0.4"),
    "epsilon_floor:epsilon=0": parse_exploration("epsilon_floor:epsilon=0"),
    "ts_empirical:samples=7,floor=0.2": parse_exploration("ts_empirical:samples=7,floor=0.2"),
    "igw, with a share that is uniform": parse_exploration("igw").with_uniform(0.25),
    "fixed shares": FIXED_SHARES,
}
EVERY_LAYER = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
SCORING = [layer for layer in LAYERS.values() if layer != FIXED_SHARES]
Array = npt.NDArray[np.float64]

SEED = 5
SCORES, DEVIATIONS = (0.62, 0.55, 0.6, 0.1, 0.58), (0.05, 0.2, 0.02, 0.3, 0.1)
QUOTES = make_quotes(
    *[
        make_quote(f"arm{index}", hold_nusd=10 * (index + 1), score=score, uncertainty=deviation)
        for index, (score, deviation) in enumerate(zip(SCORES, DEVIATIONS, strict=True))
    ]
)


def weights(layer: Exploration, scores: Array, deviations: Array, key: str = "r") -> Array:
    return layer.weigh(scores, deviations, keyed_normals(SEED, key, arms=len(scores)))


def procedure(layer: Exploration, key: str, free_nusd: int, quotes: Quotes = QUOTES) -> Decision:
    """As Route decides while the same money stays free: drawn again over what fits until the drawn arm does."""
    arms, rounds = candidates(quotes), ()
    while True:
        draw = weigh_round(quotes, arms, layer, seed=SEED, key=key)
        rounds = (*rounds, draw)
        chosen = draw_arm(draw, uniform(SEED, key, len(rounds) - 1))
        if quotes[chosen].hold_nusd <= free_nusd:
            return make_decision(
                quotes=quotes, rounds=rounds, chosen=chosen, exploration=layer, seed=SEED, request_id=key
            )
        arms = candidates(quotes, free_nusd=free_nusd)


def test_every_layer_takes_part() -> None:
    assert {layer.name for layer in LAYERS.values()} == {*EXPLORATIONS, FIXED_SHARES.name}


arms_of = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=6)


@EVERY_LAYER
@FEW
@given(arms_of)
def test_weights_are_probabilities_and_inputs_stay_as_they_are(layer: Exploration, arms: list) -> None:
    scores, deviations = np.array(arms).T.copy()
    kept = scores.copy(), deviations.copy()
    found = weights(layer, scores, deviations)
    assert found.shape == scores.shape
    assert (found >= 0.0).all()
    assert found.sum() == pytest.approx(1.0, abs=1e-12)
    assert (scores == kept[0]).all()
    assert (deviations == kept[1]).all()
    assert (weights(layer, scores, deviations) == found).all()


@EVERY_LAYER
@FEW
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_a_single_query_in_plain_floats_is_weighed_as_in_arrays(layer: Exploration, arms: list) -> None:
    scores, deviations = map(list, zip(*arms, strict=True))
    found = layer.weigh_one(scores, deviations, keyed_normals(SEED, "r", arms=len(arms)))
    assert found == pytest.approx(weights(layer, np.array(scores), np.array(deviations)), rel=1e-9, abs=1e-15)


@EVERY_LAYER
def test_one_arm_alone_is_certain(layer: Exploration) -> None:
    assert weights(layer, np.array([0.2]), np.array([0.5])).tolist() == [1.0]


@pytest.mark.parametrize("layer", SCORING, ids=str)
def test_only_differences_of_scores_count(layer: Exploration) -> None:
    scores, deviations = np.array(SCORES), np.array(DEVIATIONS)
    assert weights(layer, scores - 8.0, deviations) == pytest.approx(weights(layer, scores, deviations), abs=1e-9)


@pytest.mark.parametrize("layer", SCORING, ids=str)
def test_an_arm_that_is_surely_better_is_not_chosen_less_often(layer: Exploration) -> None:
    found = weights(layer, np.array(SCORES), np.zeros(5))
    by_score = found[np.argsort(SCORES)]
    assert (np.diff(by_score) >= -1e-12).all()
    assert found.argmax() == np.argmax(SCORES)


@EVERY_LAYER
def test_the_order_of_the_arms_does_not_matter(layer: Exploration) -> None:
    order = [3, 0, 4, 2, 1]
    scores, deviations = np.array(SCORES), np.array(DEVIATIONS)
    normals = keyed_normals(SEED, "r", arms=5)
    straight = layer.weigh(scores, deviations, normals)
    other = layer.weigh(scores[order], deviations[order], lambda samples: normals(samples)[:, order])
    assert other == pytest.approx(straight[order], abs=1e-12)


@EVERY_LAYER
def test_many_queries_at_once_are_weighed_as_each_alone(layer: Exploration) -> None:
    """Sampling layers draw for a batch by its rows: here the same draws are given to both."""
    source = np.array([SCORES, SCORES[::-1], np.roll(SCORES, 2)])
    spreads = np.tile(DEVIATIONS, (3, 1))
    normals = batch_normals(3, 5)
    whole = layer.weigh(source, spreads, normals)
    for row, expected in enumerate(whole):
        alone = layer.weigh(source[row], spreads[row], lambda samples, row=row: normals(samples)[row])
        assert alone == pytest.approx(expected, abs=1e-12)


@EVERY_LAYER
@pytest.mark.parametrize("free_nusd", [50, 35, 20])
def test_draws_come_as_often_as_the_propensities_say_also_when_drawn_again(layer: Exploration, free_nusd: int) -> None:
    """With 35 free the last two arms never fit, with 20 the last three."""
    counts, expected = np.zeros(len(QUOTES)), np.zeros(len(QUOTES))
    requests = 3_000
    for number in range(requests):
        decision = procedure(layer, f"r{number}", free_nusd)
        found = exact_propensities(decision, free_nusd=free_nusd)
        assert sum(found.values()) == pytest.approx(1.0, abs=1e-12)
        assert found[decision.arm_id] > 0.0
        counts[decision.chosen] += 1
        expected += [found.get(quote.arm_id, 0.0) for quote in QUOTES]
    p_value = chi_square_p_value(counts.astype(int).tolist(), (expected / requests).tolist())
    assert p_value > SMALLEST_P_VALUE


@EVERY_LAYER
@pytest.mark.parametrize("free_nusd", [50, 35, 20])
def test_propensities_are_worked_out_from_the_stored_record_to_the_last_bit(layer: Exploration, free_nusd: int) -> None:
    for number in range(40):
        decision = procedure(layer, f"r{number}", free_nusd)
        restored = decode_decision(encode_decision(decision))
        assert restored == decision
        assert exact_propensities(restored, free_nusd=free_nusd) == exact_propensities(decision, free_nusd=free_nusd)


@EVERY_LAYER
def test_whether_the_first_draw_fitted_makes_no_difference_to_the_propensities(layer: Exploration) -> None:
    """What is reported is the probability of the procedure given the draws the request names, not of its luck."""
    by_rounds = {}
    for number in range(200):
        decision = procedure(layer, f"r{number}", 35)
        first_only = make_decision(
            quotes=QUOTES,
            rounds=decision.rounds[:1],
            chosen=0,
            exploration=layer,
            seed=SEED,
            request_id=decision.request_id,
        )
        assert exact_propensities(first_only, free_nusd=35) == pytest.approx(
            exact_propensities(decision, free_nusd=35), abs=1e-12
        )
        by_rounds[len(decision.rounds)] = True
    assert by_rounds
