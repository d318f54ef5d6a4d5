from __future__ import annotations

import csv
import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bandit_router_sim.logs.canonical import read_full_log, write_full_log
from bandit_router_sim.logs.columns import COST, IS_ID, IS_TEXT, IS_UNIQUE, SCORE, TOKENS
from bandit_router_sim.logs.errors import BadRow, UnusableLog
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.logs.tables import AS_MANY_CELLS, ONE_OBJECT_A_LINE

Row = dict[str, Any]

words = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
arm_names = st.text(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=1, max_size=8)


@st.composite
def full_logs(draw: st.DrawFn) -> FullLog:
    """Logs of any shape, with gaps; an arm or kind of column may be NaN throughout."""
    arm_ids = tuple(draw(st.lists(arm_names, min_size=1, max_size=4, unique=True)))
    query_ids = tuple(draw(st.lists(words.filter(bool), max_size=6, unique=True)))
    shape = (len(query_ids), len(arm_ids))

    def matrix(high: float) -> Any:
        return draw(hnp.arrays(np.float64, shape, elements=st.just(math.nan) | st.floats(0.0, high)))

    texts = st.lists(words, min_size=shape[0], max_size=shape[0])
    return FullLog(
        name="drawn",
        arm_ids=arm_ids,
        query_ids=query_ids,
        prompts=tuple(draw(texts)),
        sources=tuple(draw(texts)),
        splits=tuple(draw(texts)),
        scores=matrix(1.0),
        costs_usd=matrix(1e6),
        input_tokens=matrix(1e6),
        output_tokens=matrix(1e6),
    )


def write_csv(log: FullLog, path: Path) -> None:
    """The log as other tools would write it: empty cells for nulls."""
    matrices = {"score": log.scores, "cost": log.costs_usd, "in_tok": log.input_tokens, "out_tok": log.output_tokens}
    names = [f"{kind}__{arm_id}" for kind in matrices for arm_id in log.arm_ids]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["query_id", "prompt", "source", "split", *names])
        for i in range(len(log)):
            numbers = ["" if math.isnan(x) else repr(float(x)) for m in matrices.values() for x in m[i]]
            writer.writerow([log.query_ids[i], log.prompts[i], log.sources[i], log.splits[i], *numbers])


WRITERS: dict[str, Callable[[FullLog, Path], None]] = {
    ".parquet": write_full_log,
    ".jsonl": write_full_log,
    ".csv": write_csv,
}


def assert_same(read: FullLog, written: FullLog) -> None:
    """Equal to the last bit, NaN to NaN."""
    for field in ("arm_ids", "query_ids", "prompts", "sources", "splits"):
        assert getattr(read, field) == getattr(written, field)
    for field in ("scores", "costs_usd", "input_tokens", "output_tokens"):
        np.testing.assert_array_equal(getattr(read, field), getattr(written, field))


@pytest.mark.parametrize("suffix", WRITERS)
@settings(deadline=None, max_examples=40)
@given(log=full_logs())
def test_what_is_written_is_read_back(suffix: str, log: FullLog) -> None:
    if suffix == ".jsonl" and not len(log):
        return  # a file of no lines names no arms
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log" + suffix)
        WRITERS[suffix](log, path)
        read, skipped = read_full_log(path)
    assert_same(read, log)
    assert (read.name, skipped.total) == ("log", 0)


def good_rows() -> list[Row]:
    """Six rows of two arms."""
    return [
        {"query_id": f"q{i}", "prompt": "p", "source": "s", "split": "t"}
        | {"score__a": 0.5, "cost__a": 0.1, "in_tok__a": 3.0, "out_tok__a": 4.0}
        | {"score__b": None, "cost__b": None, "in_tok__b": None, "out_tok__b": None}
        for i in range(6)
    ]


def dump_jsonl(rows: list[Row], path: Path) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def dump_parquet(rows: list[Row], path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(rows), path)


def dump_csv(rows: list[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(rows[0])
        writer.writerows([["" if value is None else value for value in row.values()] for row in rows])


DUMPS = {".jsonl": dump_jsonl, ".parquet": dump_parquet, ".csv": dump_csv}

VIOLATIONS = [
    ("score__a", 1.5, SCORE.rule),
    ("score__a", -0.25, SCORE.rule),
    ("score__b", math.nan, SCORE.rule),
    ("score__b", math.inf, SCORE.rule),
    ("cost__a", -1e-9, COST.rule),
    ("cost__b", math.inf, COST.rule),
    ("cost__a", math.nan, COST.rule),
    ("in_tok__a", -1.0, TOKENS.rule),
    ("out_tok__b", math.inf, TOKENS.rule),
    ("query_id", "q0", IS_UNIQUE),
    ("query_id", "", IS_ID),
]


@pytest.mark.parametrize("suffix", DUMPS)
@pytest.mark.parametrize(("column", "value", "rule"), VIOLATIONS)
@pytest.mark.parametrize("place", [1, 5])
def test_each_broken_rule_is_named_with_file_row_and_column(
    tmp_path: Path, suffix: str, column: str, value: Any, rule: str, place: int
) -> None:
    path = tmp_path / f"log{suffix}"
    rows = good_rows()
    rows[place][column] = value
    DUMPS[suffix](rows, path)
    with pytest.raises(BadRow) as caught:
        read_full_log(path)
    bad = caught.value
    assert (bad.file, bad.row, bad.column, bad.rule) == (str(path), place + 1, column, rule)
    assert all(part in str(bad) for part in (str(path), f"row {place + 1}", column, rule))
    log, skipped = read_full_log(path, skip_bad=True)
    assert skipped.by_rule == {rule: 1}
    assert log.query_ids == tuple(f"q{i}" for i in range(6) if i != place)


@settings(deadline=None, max_examples=40)
@given(bad=st.dictionaries(st.integers(0, 29), st.sampled_from(VIOLATIONS[:9]), max_size=30))
def test_skipping_leaves_out_the_bad_rows_and_no_others(bad: dict[int, tuple[str, float, str]]) -> None:
    rows = [good_rows()[0] | {"query_id": f"q{i}"} for i in range(30)]
    for place, (column, value, _) in bad.items():
        rows[place][column] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.jsonl")
        dump_jsonl(rows, path)
        log, skipped = read_full_log(path, skip_bad=True)
        if bad:
            with pytest.raises(BadRow, match=f"row {min(bad) + 1},"):
                read_full_log(path)
    rules = [rule for _, _, rule in bad.values()]
    assert skipped.by_rule == {rule: rules.count(rule) for rule in rules}
    assert skipped.total + len(log) == 30
    assert log.query_ids == tuple(f"q{i}" for i in range(30) if i not in bad)


def test_a_row_counts_once_under_the_first_rule_that_it_breaks(tmp_path: Path) -> None:
    rows = good_rows()
    rows[2] |= {"score__a": 7.0, "cost__a": -7.0, "query_id": ""}
    dump_jsonl(rows, tmp_path / "log.jsonl")
    assert read_full_log(tmp_path / "log.jsonl", skip_bad=True)[1].by_rule == {SCORE.rule: 1}


def test_a_repeat_of_a_row_that_is_left_out_is_no_repeat(tmp_path: Path) -> None:
    rows = good_rows()[:2]
    rows[1]["query_id"] = rows[0]["query_id"]
    rows[0]["score__a"] = 7.0
    dump_jsonl(rows, tmp_path / "log.jsonl")
    log, skipped = read_full_log(tmp_path / "log.jsonl", skip_bad=True)
    assert (log.query_ids, skipped.by_rule) == (("q0",), {SCORE.rule: 1})


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [("score__a", "0.5", SCORE.rule), ("prompt", 3, IS_TEXT), ("query_id", None, IS_ID), ("cost__a", [], COST.rule)],
)
def test_values_of_another_type_are_refused(tmp_path: Path, column: str, value: Any, rule: str) -> None:
    dump_jsonl([good_rows()[0] | {column: value}], tmp_path / "log.jsonl")
    with pytest.raises(BadRow) as caught:
        read_full_log(tmp_path / "log.jsonl")
    assert (caught.value.column, caught.value.rule) == (column, rule)


@pytest.mark.parametrize("line", ["{", "[1]", "", "\x00", '{"query_id": 1' + "0" * 5000 + "}", "[" * 100_000])
def test_a_line_that_is_no_object_is_a_bad_row(tmp_path: Path, line: str) -> None:
    path = tmp_path / "log.jsonl"
    rows = [json.dumps(row) for row in good_rows()]
    path.write_text("\n".join([rows[0], line, rows[1]]) + "\n\n\n", encoding="utf-8")
    with pytest.raises(BadRow) as caught:
        read_full_log(path)
    assert (caught.value.row, caught.value.rule) == (2, ONE_OBJECT_A_LINE)
    assert read_full_log(path, skip_bad=True)[0].query_ids == ("q0", "q1")


def test_a_csv_row_of_another_length_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text('query_id,prompt,score__a\n1,"two\nlines",0.5\n2,p\n', encoding="utf-8")
    with pytest.raises(BadRow) as caught:
        read_full_log(path)
    assert (caught.value.row, caught.value.rule) == (2, AS_MANY_CELLS)
    assert read_full_log(path, skip_bad=True)[0].prompts == ("two\nlines",)


def test_absent_columns_are_empty_and_whole_numbers_are_ids(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(
        '{"query_id": 7, "prompt": null, "score__a": 1}\n{"query_id": 8, "prompt": "x", "score__b": true}\n'
    )
    log, _ = read_full_log(path, name="mine")
    assert (log.name, log.query_ids, log.prompts, log.sources) == ("mine", ("7", "8"), ("", "x"), ("", ""))
    np.testing.assert_array_equal(log.scores, [[1.0, np.nan], [np.nan, 1.0]])
    assert np.isnan(log.costs_usd).all()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('{"prompt": "p", "score__a": 1}', "query_id"),
        ('{"query_id": "q", "score__a": 1}', "prompt"),
        ('{"query_id": "q", "prompt": "p"}', "score__"),
        ('{"query_id": "q", "prompt": "p", "score__a": 1, "cost__b": 1}', "cost__b"),
        ('{"query_id": "q", "prompt": "p", "score__a": 1, "in_tok__b": 1}', "in_tok__b"),
    ],
)
def test_a_log_without_what_it_needs_is_refused_by_name(tmp_path: Path, content: str, named: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(content + "\n")
    with pytest.raises(UnusableLog, match=named) as caught:
        read_full_log(path, skip_bad=True)
    assert caught.value.file == str(path)


@pytest.mark.parametrize("suffix", [".parquet", ".xlsx", ".csv", ".json"])
def test_a_file_of_another_format_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"log{suffix}"
    path.write_bytes(b'[\xff"')
    with pytest.raises(UnusableLog):
        read_full_log(path)
    with pytest.raises(FileNotFoundError):
        read_full_log(tmp_path / "absent.parquet")


def test_a_column_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("query_id,prompt,score__a,score__a\n")
    with pytest.raises(UnusableLog, match="twice"):
        read_full_log(tmp_path / "log.csv")


def test_arm_names_with_dots_that_begin_alike_are_kept_apart(tmp_path: Path) -> None:
    row = {"query_id": "q", "prompt": "p", "score__m": 0.1, "score__m.5": 0.2, "score__m.5.x": 0.3}
    dump_parquet([row], tmp_path / "log.parquet")
    log, _ = read_full_log(tmp_path / "log.parquet")
    assert (log.arm_ids, log.scores.tolist()) == (("m", "m.5", "m.5.x"), [[0.1, 0.2, 0.3]])


def test_writing_refuses_an_unknown_ending(tmp_path: Path) -> None:
    dump_jsonl(good_rows(), tmp_path / "log.jsonl")
    log, _ = read_full_log(tmp_path / "log.jsonl")
    with pytest.raises(UnusableLog, match="csv"):
        write_full_log(log, tmp_path / "log.csv")
