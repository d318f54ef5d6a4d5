"""The recordings that play the models: what three real models answered to 3,609 prompts, and what they charged.

They ship in the PyPI package `paretobandit` (Apache-2.0), which is read here and never imported.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bandit_router.core.money import NUSD_PER_USD, usd_to_nusd
from bandit_router.core.regression import FloatArray

_PACKAGE = "pareto_bandit"
_LOGS = ("data/examples/val.jsonl", "data/examples/test_holdout.jsonl")
_MODELS = "config/models.json"
_MAX_OUTPUT_TOKENS = {"slow": 16_384}
_USUAL_MAX_OUTPUT_TOKENS = 4_096


class RecordingsMissing(Exception):
    """The package that carries the recordings is not installed."""


@dataclass(frozen=True, slots=True)
class RecordedArm:
    """A model with its list prices (decimal USD per million tokens) and the longest answer it is asked for."""

    arm_id: str
    input_usd_per_mtok: str
    output_usd_per_mtok: str
    max_output_tokens: int


@dataclass(frozen=True, slots=True)
class Recording:
    """One prompt, with reward and bill of each arm, in the order of the arms."""

    prompt: str
    rewards: tuple[float, ...]
    costs_nusd: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Recordings:
    """All prompts, and the arms that answered them."""

    arms: tuple[RecordedArm, ...]
    prompts: tuple[Recording, ...]

    def shuffled(self, *, seed: int, count: int) -> Recordings:
        """`count` prompts (or all there are) in a seeded order."""
        order = np.random.Generator(np.random.PCG64(seed)).permutation(len(self.prompts))[:count]
        return Recordings(self.arms, tuple(self.prompts[index] for index in order))

    def rewards(self) -> FloatArray:
        """(prompts, arms)."""
        return np.array([prompt.rewards for prompt in self.prompts])

    def costs_usd(self) -> FloatArray:
        """(prompts, arms)."""
        return np.array([prompt.costs_nusd for prompt in self.prompts]) / NUSD_PER_USD


def load_recordings() -> Recordings:
    """Read the recordings. Raises RecordingsMissing saying what to install."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise RecordingsMissing("the demo's recordings are not installed: pip install 'bandit-router[demo]'")
    root = Path(spec.origin).parent
    models = json.loads((root / _MODELS).read_text(encoding="utf-8"))["models"]
    arms = tuple(_arm(model) for model in models)
    rows = [json.loads(line) for log in _LOGS for line in _lines(root / log)]
    return Recordings(arms, tuple(_recording(row, arms) for row in rows))


def _arm(model: dict[str, Any]) -> RecordedArm:
    return RecordedArm(
        arm_id=model["model_id"],
        input_usd_per_mtok=str(model["input_cost_per_m"]),
        output_usd_per_mtok=str(model["output_cost_per_m"]),
        max_output_tokens=_MAX_OUTPUT_TOKENS.get(model["speed_profile"], _USUAL_MAX_OUTPUT_TOKENS),
    )


def _recording(row: dict[str, Any], arms: tuple[RecordedArm, ...]) -> Recording:
    answers = [row["arms"][arm.arm_id] for arm in arms]
    return Recording(
        prompt=row["prompt"],
        rewards=tuple(float(answer["reward"]) for answer in answers),
        costs_nusd=tuple(usd_to_nusd(str(answer["cost"])) for answer in answers),
    )


def _lines(path: Path) -> list[str]:
    """Lines ended by a newline only: prompts hold other characters that `splitlines` would break at."""
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]
