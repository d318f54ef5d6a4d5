"""Every policy that the commands offer runs through the router's own services, and owes what all of them owe."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from bandit_router.core.budget_policies.registry import BUDGET_POLICIES
from bandit_router.core.explorations.registry import EXPLORATIONS
from bandit_router.core.learners.registry import LEARNERS
from bandit_router_sim.replay.result import REFUSED, Trace
from bandit_router_sim.replay.setting import POLICIES, Material, Setting
from bandit_router_sim.replay.sweep import replay_one
from tests.unit.sim.compare.compare_logs import make_material

COUNT = 120
EVERY_POLICY = pytest.mark.parametrize("name", POLICIES)


@pytest.fixture(scope="module")
def material() -> Material:
    return make_material(COUNT)


def budget_usd(material: Material) -> float:
    """A third of the way from the cheapest to the dearest arm."""
    means = material.log.costs_usd.mean(axis=0)
    return float(means.min() + (means.max() - means.min()) / 3)


def family(text: str) -> str:
    return text.partition(":")[0]


def test_every_member_of_every_family_can_be_replayed_by_name() -> None:
    assert {family(policy.learner) for policy in POLICIES.values()} == set(LEARNERS)
    assert {family(policy.exploration) for policy in POLICIES.values()} == set(EXPLORATIONS)
    assert {family(policy.budget_policy) for policy in POLICIES.values()} == set(BUDGET_POLICIES)
    assert all(policy.name == name for name, policy in POLICIES.items())


@EVERY_POLICY
def test_a_replay_spends_within_its_limit_and_reports_what_it_did(material: Material, name: str) -> None:
    trace = replay_one(material, Setting(POLICIES[name], budget_usd(material), seed=3)).trace
    served = trace.chosen != REFUSED
    assert served.any()
    assert ((trace.propensities > 0.0) & (trace.propensities <= 1.0))[served].all()
    for stretch in (trace.is_reported, ~trace.is_reported):
        assert trace.costs_usd[stretch].sum() <= budget_usd(material) * stretch.sum() * (1 + 1e-9)
    assert (trace.prices_per_usd >= 0.0).all()


@EVERY_POLICY
def test_a_replay_of_the_same_seed_is_the_same_to_the_last_bit(material: Material, name: str) -> None:
    setting = Setting(POLICIES[name], budget_usd(material), seed=4, learn_share=0.3)
    one, other = (replay_one(material, setting).trace for _ in range(2))
    for field in fields(Trace):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
