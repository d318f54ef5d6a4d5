"""The product started as its warm peer is: with ParetoBandit's shipped priors, on ParetoBandit's own features."""

from __future__ import annotations

from dataclasses import replace

from bandit_router.core.prior_codec import encode_prior
from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.peers.shipped_priors import COORDINATES, embeddings_of, shipped_prior
from bandit_router_sim.replay.result import RunResult
from bandit_router_sim.replay.setting import POLICIES, Material, Setting
from bandit_router_sim.replay.sweep import replay_one

WARM = "default_warm"
"""The player's name."""

LIKE = "paretobandit_warm"
"""The peer that starts with the same."""

POLICY = replace(POLICIES["default"], name=WARM, dimension=COORDINATES)


def play_warm(material: Material, setting: Setting, features: FloatArray) -> RunResult:
    """One replay of a setting of POLICY; features (n, 26) as the peer reads them."""
    prior = encode_prior(shipped_prior(material.log.arm_ids))
    return replay_one(replace(material, embeddings=embeddings_of(features)), setting, prior=prior)
