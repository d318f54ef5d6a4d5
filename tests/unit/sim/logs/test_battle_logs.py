from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandit_router_sim.logs.battles import COLUMNS, IS_WINNER, read_battles
from bandit_router_sim.logs.columns import IS_SET, IS_TEXT
from bandit_router_sim.logs.errors import BadRow, UnusableLog

words = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)
battle_rows = st.lists(
    st.fixed_dictionaries(
        {"prompt": words, "model_a": words, "model_b": words, "winner": st.sampled_from(["a", "b", "tie"])}
    ),
    min_size=1,
    max_size=8,
)


def dump(rows: list[dict[str, Any]], path: Path) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv"])
@settings(deadline=None, max_examples=30)
@given(rows=battle_rows)
def test_battles_are_read_as_they_are(suffix: str, rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"fights{suffix}")
        dump(rows, path)
        battles, skipped = read_battles(path)
    read = zip(battles.prompts, battles.models_a, battles.models_b, battles.winners, strict=True)
    assert [tuple(row[column] for column in COLUMNS) for row in rows] == list(read)
    assert (battles.name, len(battles), skipped.total) == ("fights", len(rows), 0)
    assert set(battles.model_ids) == {row[side] for row in rows for side in ("model_a", "model_b")}


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("winner", "A", IS_WINNER),
        ("winner", None, IS_WINNER),
        ("model_a", "", IS_SET),
        ("model_b", None, IS_SET),
        ("prompt", 3, IS_TEXT),
    ],
)
def test_each_broken_rule_is_named_and_can_be_skipped(tmp_path: Path, column: str, value: Any, rule: str) -> None:
    rows: list[dict[str, Any]] = [{"prompt": "p", "model_a": "x", "model_b": "y", "winner": "a"} for _ in range(4)]
    rows[2][column] = value
    path = tmp_path / "fights.jsonl"
    dump(rows, path)
    with pytest.raises(BadRow) as caught:
        read_battles(path)
    assert (caught.value.row, caught.value.column, caught.value.rule) == (3, column, rule)
    battles, skipped = read_battles(path, skip_bad=True)
    assert (len(battles), skipped.by_rule) == (3, {rule: 1})


def test_a_file_without_winners_is_refused(tmp_path: Path) -> None:
    dump([{"prompt": "p", "model_a": "x", "model_b": "y"}], tmp_path / "fights.jsonl")
    with pytest.raises(UnusableLog, match="winner"):
        read_battles(tmp_path / "fights.jsonl")
