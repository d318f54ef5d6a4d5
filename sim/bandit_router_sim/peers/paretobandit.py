"""ParetoBandit (arXiv 2604.00136) as its package ships it: `BanditRouter` with its `BudgetPacer`.

    https://pypi.org/project/paretobandit (Apache-2.0)

The pacer's target is the budget per request, in its default (adaptive) mode with its default constants, and there is
no fixed cost penalty beside it. Three ways to run it:

- cold: its constants for starts without priors (`BEST_K3_TABULA_RASA_HPARAMS`), on the contexts that all policies see,
  whitened as its own features are (on three arms of its published data that is as good as its own features; on the
  contexts as they are it loses up to .11);
- warm: its shipped priors, learned from 8,373 labelled prompts, and its own features (`sentence_features`);
- as shipped: warm, and the pacer sees what the package itself estimates a call to cost (list price × 600 tokens).

In the first two the bill is put into the routing log before the feedback, as the package's own demo does.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bandit_router_sim.logs.full import FloatArray
from bandit_router_sim.peers.protocol import Offer, Request
from bandit_router_sim.peers.sentence_features import feature_service

MODULE = "pareto_bandit"
TYPICAL_TOKENS = 600
"""Output tokens at which an arm's stated price makes its typical cost; what the package assumes of an answer."""


class ParetoBandit:
    """The package behind the peers' protocol."""

    def __init__(self, offer: Offer, *, warm: bool, tell_bills: bool = True) -> None:
        from pareto_bandit.budget_pacer import BudgetPacer
        from pareto_bandit.config import BEST_K3_HPARAMS, BEST_K3_TABULA_RASA_HPARAMS
        from pareto_bandit.router import BanditRouter

        logging.getLogger("pareto_bandit").setLevel(logging.ERROR)
        constants = BEST_K3_HPARAMS if warm else BEST_K3_TABULA_RASA_HPARAMS
        self._columns = {arm_id: column for column, arm_id in enumerate(offer.arm_ids)}
        self._tell_bills = tell_bills
        self._log: Any = None
        self._router: Any = BanditRouter.create(
            model_registry=registry_of(offer),
            priors="warmup" if warm else "none",
            feature_service=_features(offer, warm=warm),
            alpha=constants["alpha"],
            forgetting_factor=constants["forgetting_factor"],
            bandit_seed=offer.seed,
            cost_penalty=0.0,
            budget_pacer=BudgetPacer(offer.budget_usd),
        )

    def begin(self, requests: int, money_usd: float) -> None:
        """See Peer; its pacer knows a target per request and no horizon."""

    def choose(self, request: Request) -> int:
        """See Peer."""
        arm_id, self._log = self._router.route(intercept_last(request.context))
        return self._columns[arm_id]

    def learn(self, request: Request, column: int, *, reward: float, cost_usd: float) -> None:  # noqa: ARG002
        """See Peer."""
        if self._tell_bills:
            self._log.cost_usd = cost_usd
        self._router.process_feedback(self._log.request_id, reward=reward)


def _features(offer: Offer, *, warm: bool) -> Any:
    """Its service for vectors made beforehand; with the shipped whitening, which the shipped priors are stated in."""
    from pareto_bandit.feature_service import FeatureService

    if not warm:
        return FeatureService.for_precomputed(offer.dimension)
    features = feature_service()
    assert features.dimension == offer.dimension, "a warm start needs the package's own features"
    return features


def intercept_last(context: FloatArray) -> FloatArray:
    """The package's order of coordinates."""
    return np.roll(context, -1)


def registry_of(offer: Offer) -> dict[str, dict[str, Any]]:
    """Prices per arm: the package's own where it ships them, else those at which TYPICAL_TOKENS cost the typical."""
    known = shipped_models()
    return {
        arm_id: dict(known[arm_id]) if arm_id in known else _priced(float(typical_usd))
        for arm_id, typical_usd in zip(offer.arm_ids, offer.typical_cost_usd, strict=True)
    }


def shipped_models() -> Mapping[str, Mapping[str, Any]]:
    """The entries of the package's registry by model, read without importing it, which takes seconds."""
    spec = find_spec(MODULE)
    assert spec is not None, "the package is not installed"
    assert spec.origin is not None
    registry = Path(spec.origin).parent / "config" / "models.json"
    entries = json.loads(registry.read_text(encoding="utf-8"))["models"]
    return {entry["model_id"]: entry for entry in entries}


def _priced(typical_usd: float) -> dict[str, Any]:
    usd_per_mtok = typical_usd / TYPICAL_TOKENS * 1e6
    return {"input_cost_per_m": usd_per_mtok, "output_cost_per_m": usd_per_mtok}
