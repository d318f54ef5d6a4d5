"""LLMRouterBench (first OpenRouterBench; Li et al., 2026): one JSON file of results per dataset, split and model.

`bench/DATASET/SPLIT/MODEL/DATASET-SPLIT-MODEL-YYYYMMDD_HHMMSS.json` holds `dataset_name`, `split`, `model_name` (in
older files only the folders say these), `demo`, and `records`, each with `index`, `prompt`, `origin_query`, `score`,
`cost` (USD), `prompt_tokens`, `completion_tokens`, …. Format as described and read by its own repository. Rows are
joined over models by dataset, split and index; the newest file of a model counts, trial runs (`demo`) do not.

A score of null stays missing (their loader counts it as 0). Models run at home have cost 0 in every record: that is no
price, so such an arm's costs are NaN.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bandit_router_sim.logs.columns import COST, SCORE, TOKENS, note_repeats, numbers, texts
from bandit_router_sim.logs.errors import UnusableLog
from bandit_router_sim.logs.findings import Findings, OnBad, PathLike
from bandit_router_sim.logs.full import FloatArray, FullLog, IndexArray
from bandit_router_sim.logs.tables import Table

STAMP = re.compile(r"(\d{8}_\d{6})\.json$")
IS_RECORD = "a record is an object with a whole number as index"
FIELDS = (("score", SCORE), ("cost", COST), ("prompt_tokens", TOKENS), ("completion_tokens", TOKENS))


@dataclass(frozen=True, slots=True, eq=False)
class _Result:
    """The records of one file; `values` (n, 4): score, cost, input and output tokens."""

    dataset: str
    split: str
    model: str
    stamp: str
    query_ids: list[str]
    prompts: list[str]
    values: FloatArray


def convert(*paths: PathLike, name: str | None = None, on_bad: OnBad | None = None) -> FullLog:
    """One log of all files; a folder stands for the JSON files under it. `row` in errors is the place in `records`.

    Raises BadRow and UnusableLog as `read_full_log` does.
    """
    files = [file for path in map(Path, paths) for file in (sorted(path.rglob("*.json")) if path.is_dir() else [path])]
    results = _newest(result for file in files if (result := _read(file, on_bad=on_bad)) is not None)
    if not results:
        raise UnusableLog(str(paths[0]) if paths else name or "", "there are no results in it")
    return _joined(results, name=name or Path(paths[0]).stem)


def _newest(results: Iterable[_Result]) -> list[_Result]:
    """The newest result of each dataset, split and model, in order of first appearance."""
    newest: dict[tuple[str, str, str], _Result] = {}
    for result in results:
        key = (result.dataset, result.split, result.model)
        if key not in newest or newest[key].stamp <= result.stamp:
            newest[key] = result
    return list(newest.values())


def _read(path: Path, *, on_bad: OnBad | None) -> _Result | None:
    """The result in a file; None for a trial run."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UnusableLog(str(path), f"not readable as JSON: {error}") from error
    if not isinstance(content, dict) or not isinstance(content.get("records"), list):
        raise UnusableLog(str(path), "there is no list 'records'")
    if content.get("demo"):
        return None
    folders = ["", "", "", *path.parts[:-1]][-3:]
    keys = ("dataset_name", "split", "model_name")
    dataset, split, model = (str(content.get(key) or folder) for key, folder in zip(keys, folders, strict=True))
    stamp = match[1] if (match := STAMP.search(path.name)) else ""
    return _checked(path, content["records"], (dataset, split, model, stamp), on_bad)


def _checked(path: Path, records: list[Any], labels: tuple[str, str, str, str], on_bad: OnBad | None) -> _Result:
    findings = Findings(path)
    rows = [record if isinstance(record, dict) else {} for record in records]
    table = Table(str(path), len(rows), {key: [row.get(key) for row in rows] for key in _keys_of(rows)})
    indices = table.objects("index")
    for row, index in enumerate(indices, start=1):
        if not isinstance(index, int) or isinstance(index, bool):
            findings.add(row, "index", IS_RECORD)
    prompts, origins = texts(table, "prompt", findings), texts(table, "origin_query", findings)
    values = np.column_stack([numbers(table, field, findings, allowed) for field, allowed in FIELDS])
    query_ids = [f"{labels[0]}/{labels[1]}/{index}" for index in indices]
    note_repeats(query_ids, "index", findings)
    kept = findings.settle(len(rows), on_bad=on_bad)
    asked = [prompt or origin for prompt, origin in zip(prompts, origins, strict=True)]
    return _Result(*labels, [query_ids[i] for i in kept], [asked[i] for i in kept], values[kept])


def _keys_of(rows: list[dict[str, Any]]) -> list[str]:
    known = {"index", "prompt", "origin_query", *(field for field, _ in FIELDS)}
    return sorted({key for row in rows for key in row} & known)


def _joined(results: Sequence[_Result], *, name: str) -> FullLog:
    """The results with a row per query and a column per model."""
    arm_ids = tuple(dict.fromkeys(result.model for result in results))
    prompts: dict[str, tuple[str, str, str]] = {}
    for result in results:
        for query_id, prompt in zip(result.query_ids, result.prompts, strict=True):
            prompts.setdefault(query_id, (prompt, result.dataset, result.split))
    places = {query_id: row for row, query_id in enumerate(prompts)}
    values = np.full((len(FIELDS), len(prompts), len(arm_ids)), np.nan)
    for result in results:
        rows: IndexArray = np.asarray([places[query_id] for query_id in result.query_ids], dtype=np.int64)
        values[:, rows, arm_ids.index(result.model)] = result.values.T
    values[1][:, ~(values[1] > 0.0).any(axis=0)] = np.nan
    return FullLog(
        name=name,
        arm_ids=arm_ids,
        query_ids=tuple(prompts),
        prompts=tuple(prompt for prompt, _, _ in prompts.values()),
        sources=tuple(dataset for _, dataset, _ in prompts.values()),
        splits=tuple(split for _, _, split in prompts.values()),
        scores=values[0],
        costs_usd=values[1],
        input_tokens=values[2],
        output_tokens=values[3],
    )
