from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router_sim.compare.contexts import contexts_of, whitened
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.peers.litellm import MOST_MASS, LiteLlmAdaptive, cheapness, tier_means
from bandit_router_sim.peers.protocol import Offer, Peer, Request
from bandit_router_sim.peers.purse import Purse
from bandit_router_sim.peers.registry import PEERS, Features, PeerKind
from bandit_router_sim.peers.request_types import REQUEST_TYPES, request_type
from bandit_router_sim.peers.runner import play, run_peer
from bandit_router_sim.peers.vowpal import mixture_at
from bandit_router_sim.replay.order import stretches
from bandit_router_sim.replay.result import REFUSED
from bandit_router_sim.replay.setting import Material
from tests.builders import PROPERTY, generator
from tests.unit.sim.compare.compare_logs import MEAN_COSTS_USD, make_material, with_other_outcomes

BUDGET_USD = 6e-4
COUNT = 200
RUNNABLE = [name for name, kind in PEERS.items() if kind.features is not Features.SENTENCE]


def offer_of(material: Material, contexts: FloatArray) -> Offer:
    return Offer(material.log.arm_ids, np.asarray(MEAN_COSTS_USD), contexts.shape[1], BUDGET_USD, seed=0)


def contexts_for(kind: PeerKind, material: Material) -> FloatArray:
    contexts = contexts_of(material)
    return whitened(contexts) if kind.features is Features.WHITENED else contexts


def kind_or_skip(name: str, arm_ids: tuple[str, ...]) -> PeerKind:
    if reason := PEERS[name].why_not(arm_ids):
        pytest.skip(reason)
    return PEERS[name]


@pytest.fixture(scope="module")
def material() -> Material:
    return make_material(COUNT)


class Always:
    """Chooses one arm, and keeps what it was told."""

    def __init__(self, offer: Offer, column: int) -> None:
        self.column = column
        self.stretches: list[tuple[int, float]] = []
        self.learned: list[tuple[int, float, float]] = []

    def begin(self, requests: int, money_usd: float) -> None:
        self.stretches.append((requests, money_usd))

    def choose(self, request: Request) -> int:
        return self.column

    def learn(self, request: Request, column: int, *, reward: float, cost_usd: float) -> None:
        self.learned.append((request.row, reward, cost_usd))


@pytest.mark.parametrize("name", RUNNABLE)
def test_a_peer_runs_and_cannot_break_the_budget(name: str, material: Material) -> None:
    kind = kind_or_skip(name, material.log.arm_ids)
    outcome = run_peer(
        material,
        kind.make,
        name=name,
        budget_usd=BUDGET_USD,
        seed=1,
        learn_share=0.5,
        contexts=contexts_for(kind, material),
    ).summary()
    assert outcome["policy"] == name
    assert outcome["n"] == COUNT // 2
    assert outcome["utilisation"] <= 1.0
    assert 0.0 < outcome["reward_mean"] < 1.0


@pytest.mark.parametrize("name", RUNNABLE)
def test_outcomes_after_a_choice_do_not_change_it(name: str) -> None:
    material = make_material(80)
    kind = kind_or_skip(name, material.log.arm_ids)
    rows = np.concatenate(stretches(80, seed=0, learn_share=0.5))
    later = 50
    contexts = contexts_for(kind, material)
    offer = offer_of(material, contexts)
    first, second = (
        play(m, kind.make(offer), offer, contexts, learn_share=0.5, hard=False)
        for m in (material, with_other_outcomes(material, rows[later:]))
    )
    assert np.array_equal(first.chosen[: later + 1], second.chosen[: later + 1])


@pytest.mark.parametrize("name", RUNNABLE)
def test_a_seed_names_the_choices_of_a_peer(name: str) -> None:
    material = make_material(60)
    kind = kind_or_skip(name, material.log.arm_ids)
    contexts = contexts_for(kind, material)
    offer = offer_of(material, contexts)
    first, second = (play(material, kind.make(offer), offer, contexts, learn_share=0.5) for _ in range(2))
    assert np.array_equal(first.chosen, second.chosen)


def test_paretobandit_starts_warm_from_its_shipped_priors() -> None:
    material = make_material(COUNT)
    pytest.importorskip("pareto_bandit", reason="paretobandit is not installed; install the extra `peers`")
    from bandit_router_sim.peers.paretobandit import ParetoBandit, shipped_models

    contexts = np.column_stack([np.ones(COUNT), generator(0).normal(size=(COUNT, 25))])
    offer = Offer(tuple(shipped_models()), np.asarray(MEAN_COSTS_USD), 26, BUDGET_USD, seed=0)
    peer = ParetoBandit(offer, warm=True)
    chosen = play(material, peer, offer, contexts, learn_share=0.5, hard=False).chosen
    assert set(chosen.tolist()) <= {0, 1, 2}
    prior = peer._router.bandit.A[offer.arm_ids[0]]
    assert prior[-1, -1] > 100, "no prior was loaded"


def test_warm_starts_are_left_out_where_the_priors_are_of_other_arms() -> None:
    pytest.importorskip("pareto_bandit", reason="paretobandit is not installed; install the extra `peers`")
    assert "paretobandit_warm" in PEERS["paretobandit_warm"].why_not(("a", "b"))


def test_a_peer_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bandit_router_sim.peers.registry.util.find_spec", lambda name: None)
    assert "install the extra `bandit-router[peers]`" in PEERS["vw_squarecb"].why_not(("a",))
    assert PEERS["litellm_adaptive"].why_not(("a",)) == ""


def test_each_stretch_has_its_own_money(material: Material) -> None:
    peer = Always(offer_of(material, contexts_of(material)), 0)
    play(material, peer, offer_of(material, contexts_of(material)), contexts_of(material), learn_share=0.25)
    assert peer.stretches == [(50, pytest.approx(50 * BUDGET_USD)), (150, pytest.approx(150 * BUDGET_USD))]


def test_without_a_learning_stretch_there_is_one_stretch(material: Material) -> None:
    peer = Always(offer_of(material, contexts_of(material)), 0)
    play(material, peer, offer_of(material, contexts_of(material)), contexts_of(material), learn_share=0.0)
    assert peer.stretches == [(COUNT, pytest.approx(COUNT * BUDGET_USD))]


def test_a_peer_learns_of_what_it_chose_and_was_not_refused(material: Material) -> None:
    offer = offer_of(material, contexts_of(material))
    peer = Always(offer, 2)
    run = play(material, peer, offer, contexts_of(material), learn_share=0.5)
    served = run.rows[run.chosen != REFUSED]
    assert 0 < len(served) < COUNT
    log = material.log
    assert peer.learned == [(row, log.scores[row, 2], log.costs_usd[row, 2]) for row in served.tolist()]


def test_spending_without_a_stop_is_reported_beside_the_refusals(material: Material) -> None:
    outcome = run_peer(
        material, lambda offer: Always(offer, 2), name="dearest", budget_usd=BUDGET_USD, seed=0, learn_share=0.5
    ).summary()
    _, reported = stretches(COUNT, seed=0, learn_share=0.5)
    unstopped = material.log.costs_usd[reported, 2].mean()
    assert outcome["overspend"] == pytest.approx(unstopped / BUDGET_USD - 1.0)
    assert outcome["refusals"] > 50
    assert outcome["utilisation"] <= 1.0


def test_a_peer_satisfies_the_protocol() -> None:
    peer: Peer = Always(offer_of(make_material(4), contexts_of(make_material(4))), 0)
    assert peer.choose(Request(0, 0, np.zeros(2), "")) == 0


def test_the_purse_paces_what_is_left_over_the_requests_left() -> None:
    purse = Purse(np.array([1.0, 2.0]))
    purse.begin(10, 20.0)
    purse.asked()
    purse.billed(1, 8.0)
    assert purse.pace_usd == pytest.approx(12.0 / 9)
    assert purse.mean_bills_usd.tolist() == [1.0, 3.0]
    purse.billed(0, 100.0)
    assert purse.pace_usd == 0.0


@given(st.lists(st.floats(1e-5, 1.0), min_size=2, max_size=7).map(lambda spends: sorted(spends, reverse=True)))
@PROPERTY
def test_a_mixture_spends_the_pace_wherever_the_grid_reaches_it(spends: list[float]) -> None:
    grid = np.asarray(spends)
    pace = float(np.mean(spends))
    mixture = mixture_at(grid, pace)
    assert mixture.sum() == pytest.approx(1.0)
    assert (mixture >= 0.0).all()
    assert mixture @ grid <= pace * (1 + 1e-9) or mixture[-1] == 1.0


def test_a_mixture_is_the_greatest_price_when_nothing_is_affordable() -> None:
    assert mixture_at(np.array([3.0, 2.0, 1.0]), 0.5).tolist() == [0.0, 0.0, 1.0]


def test_cheapness_is_linear_from_the_dearest_to_the_cheapest() -> None:
    assert cheapness(np.array([1.0, 2.0, 3.0])).tolist() == [1.0, 0.5, 0.0]
    assert cheapness(np.array([2.0, 2.0])).tolist() == [0.5, 0.5]


def test_tiers_follow_the_order_of_costs() -> None:
    assert tier_means(np.array([9.0, 1.0, 5.0])).tolist() == [0.7, 0.3, 0.5]


def test_the_adaptive_router_stops_learning_at_its_cap() -> None:
    offer = Offer(("a", "b"), np.array([1.0, 2.0]), 2, 1.0, seed=0)
    peer = LiteLlmAdaptive(offer)
    request = Request(0, 0, np.zeros(2), "hello")
    for _ in range(400):
        peer.learn(request, 0, reward=0.5, cost_usd=1.0)
    assert (peer._successes + peer._failures).max() == MOST_MASS


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("write me a Python sort function", "code_generation"),
        ("explain what this function does", "code_understanding"),
        ("how should I design this API?", "technical_design"),
        ("calculate the probability that it rains", "analytical_reasoning"),
        ("draft an email to my team", "writing"),
        ("what is the capital of France?", "factual_lookup"),
        ("hello there", "general"),
    ],
)
def test_the_published_examples_fall_into_their_types(prompt: str, kind: str) -> None:
    assert request_type(prompt) == kind
    assert kind in REQUEST_TYPES
