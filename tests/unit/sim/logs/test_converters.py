from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bandit_router_sim.logs.battles import Battles
from bandit_router_sim.logs.columns import COST, IS_UNIQUE, SCORE
from bandit_router_sim.logs.converters import CONVERTERS, chatbot_arena, llmrouterbench, paretobandit, routellm, sprout
from bandit_router_sim.logs.converters.generic import ArmColumns, ColumnMapping, convert
from bandit_router_sim.logs.errors import BadRow, UnusableLog
from bandit_router_sim.logs.pricing import ListPrice, estimate_tokens, price_tokens

NAN = np.nan
MIXTRAL, GPT4 = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"


def dump_jsonl(rows: list[Any], path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def dump_csv(rows: list[dict[str, Any]], path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_every_converter_refuses_to_read_nothing() -> None:
    mapping = ColumnMapping(prompt="p")
    for name, converter in CONVERTERS.items():
        with pytest.raises(UnusableLog):
            converter(**({"columns": mapping} if name == "generic" else {}))


def answer(score: float | None, tokens_in: int = 10, tokens_out: int = 20) -> dict[str, Any]:
    return {"num_input_tokens": tokens_in, "num_output_tokens": tokens_out, "response": "text", "score": score}


SPROUT_ROWS = [
    {"key": 1, "prompt": "p1", "dataset": "math", "golden_answer": "g", "openai-gpt-4o": answer(0.75), "m.5": None},
    {"key": 2, "prompt": "p2", "dataset": "gpqa", "golden_answer": "g", "openai-gpt-4o": answer(0.5), "m.5": answer(1)},
]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_sprout_gives_scores_and_tokens_and_no_costs(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"validation-00000-of-00001{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(SPROUT_ROWS), path)
    else:
        dump_jsonl(SPROUT_ROWS, path)
    log = sprout.convert(path)
    assert (log.arm_ids, log.prompts, log.sources) == (("openai-gpt-4o", "m.5"), ("p1", "p2"), ("math", "gpqa"))
    assert set(log.splits) == {"val"}
    np.testing.assert_array_equal(log.scores, [[0.75, NAN], [0.5, 1.0]])
    np.testing.assert_array_equal(log.output_tokens, [[20, NAN], [20, 20]])
    assert np.isnan(log.costs_usd).all()


def test_sprout_costs_come_from_tokens_and_list_prices(tmp_path: Path) -> None:
    log = sprout.convert(dump_jsonl(SPROUT_ROWS, tmp_path / "test.jsonl"))
    priced = price_tokens(log, {"openai-gpt-4o": ListPrice(2.5, 10.0)})
    np.testing.assert_allclose(priced.costs_usd, [[225e-6, NAN], [225e-6, NAN]])
    with pytest.raises(KeyError, match="other"):
        price_tokens(log, {"other": ListPrice(1.0, 1.0)})


def test_sprout_names_the_cell_that_breaks_a_rule(tmp_path: Path) -> None:
    rows = [*SPROUT_ROWS, SPROUT_ROWS[0] | {"m.5": answer(3.0)}, SPROUT_ROWS[0] | {"m.5": "text"}]
    path = dump_jsonl(rows, tmp_path / "train.jsonl")
    with pytest.raises(BadRow) as caught:
        sprout.convert(path)
    assert (caught.value.row, caught.value.column, caught.value.rule) == (3, "score__m.5", SCORE.rule)
    bad: list[BadRow] = []
    assert len(sprout.convert(path, on_bad=bad.append)) == 2
    assert [(row.row, row.rule) for row in bad] == [(3, SCORE.rule), (4, sprout.IS_STRUCT)]


def test_several_files_make_one_log(tmp_path: Path) -> None:
    paths = [
        dump_jsonl(SPROUT_ROWS, tmp_path / "train-0.jsonl"),
        dump_jsonl(SPROUT_ROWS[1:], tmp_path / "test-0.jsonl"),
    ]
    log = sprout.convert(*paths, name="sprout")
    assert (log.name, log.query_ids) == ("sprout", ("train-0:1", "train-0:2", "test-0:1"))
    assert (log.splits, log.scores.shape) == (("train", "train", "test"), (3, 2))
    with pytest.raises(UnusableLog, match="query id"):
        sprout.convert(paths[0], paths[0])


def test_routellm_mmlu_and_gsm8k_answers_are_scores(tmp_path: Path) -> None:
    mmlu = dump_csv(
        [{"prompt": "x,\ny", MIXTRAL: False, GPT4: True}, {"prompt": "z", MIXTRAL: True, GPT4: ""}],
        tmp_path / "mmlu_college_physics.csv",
    )
    gsm8k = dump_csv(
        [{"prompt": "w", MIXTRAL: True, GPT4: True, f"{MIXTRAL}_response": "True", f"{GPT4}_response": "r"}],
        tmp_path / "gsm8k_responses.csv",
    )
    log = routellm.convert(mmlu, gsm8k)
    assert log.arm_ids == (MIXTRAL, GPT4)
    assert log.query_ids == ("mmlu/college_physics:1", "mmlu/college_physics:2", "gsm8k:1")
    assert (log.prompts, log.sources[2]) == (("x,\ny", "z", "w"), "gsm8k")
    np.testing.assert_array_equal(log.scores, [[0, 1], [1, NAN], [1, 1]])
    estimated = estimate_tokens(log, output_tokens=1.0)
    assert estimated.input_tokens[0].tolist() == [1.0, 1.0]
    costs = price_tokens(estimated, {GPT4: ListPrice(10.0, 30.0)}).costs_usd
    np.testing.assert_allclose(costs[:, 1], [4e-5, NAN, 4e-5])


def test_routellm_json_is_read_and_other_values_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mmlu_law.json"
    path.write_text(json.dumps([{"prompt": "x", GPT4: True}, {"prompt": "y", GPT4: "maybe"}]))
    with pytest.raises(BadRow) as caught:
        routellm.convert(path)
    assert (caught.value.row, caught.value.column, caught.value.rule) == (2, GPT4, routellm.IS_ANSWER)
    with pytest.raises(UnusableLog, match="True and False"):
        routellm.convert(dump_csv([{"prompt": "x", "m": "yes"}], tmp_path / "other.csv"))


def vote(winner: str, content: Any = "hello") -> dict[str, Any]:
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "hi"}]
    return {"model_a": "x", "model_b": "y", "winner": winner, "conversation_a": turns, "conversation_b": turns}


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_arena_votes_are_battles_over_the_first_turn(tmp_path: Path, suffix: str) -> None:
    rows = [vote(winner) for winner in ("model_a", "model_b", "tie", "tie (bothbad)", "both_bad")]
    path = tmp_path / f"arena{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        dump_jsonl(rows, path)
    battles = chatbot_arena.convert(path)
    assert isinstance(battles, Battles)
    assert battles.winners == ("a", "b", "tie", "tie", "tie")
    assert (set(battles.prompts), battles.model_ids) == ({"hello"}, ("x", "y"))


def test_arena_turns_in_parts_are_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "image", "image": "…"}, {"type": "text", "text": "two"}]
    assert chatbot_arena.convert(dump_jsonl([vote("tie", parts)], tmp_path / "a.jsonl")).prompts == ("one\ntwo",)


def test_arena_names_the_vote_that_breaks_a_rule(tmp_path: Path) -> None:
    path = dump_jsonl([vote("tie"), vote("x"), vote("tie") | {"conversation_a": []}], tmp_path / "a.jsonl")
    bad: list[BadRow] = []
    assert len(chatbot_arena.convert(path, on_bad=bad.append)) == 1
    assert [(row.row, row.rule) for row in bad] == [(2, chatbot_arena.IS_VOTE), (3, chatbot_arena.IS_CONVERSATION)]


def record(index: Any, score: float | None, cost: float = 1e-3) -> dict[str, Any]:
    tokens = {"prompt_tokens": 15, "completion_tokens": 5}
    return {"index": index, "prompt": f"p{index}", "score": score, "cost": cost, "raw_output": "text", **tokens}


def result(folder: Path, model: str, records: list[Any], *, stamp: str = "20250901_120000", **more: Any) -> Path:
    path = folder / "aime" / "test" / model / f"aime-test-{model}-{stamp}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"performance": 0.5, "demo": False, "records": records, **more}))
    return path


def test_llmrouterbench_results_are_joined_over_models(tmp_path: Path) -> None:
    result(tmp_path, "big", [record(1, 1.0), record(2, 0.0)])
    result(tmp_path, "small", [record(2, 1.0, 0.0), record(3, None, 0.0)], model_name="org/small")
    log = llmrouterbench.convert(tmp_path, name="bench")
    assert (log.name, log.arm_ids) == ("bench", ("big", "org/small"))
    assert (log.query_ids, log.prompts) == (("aime/test/1", "aime/test/2", "aime/test/3"), ("p1", "p2", "p3"))
    assert (set(log.sources), set(log.splits)) == ({"aime"}, {"test"})
    np.testing.assert_array_equal(log.scores, [[1, NAN], [0, 1], [NAN, NAN]])
    np.testing.assert_array_equal(log.costs_usd, [[1e-3, NAN], [1e-3, NAN], [NAN, NAN]])
    np.testing.assert_array_equal(log.input_tokens, [[15, NAN], [15, 15], [NAN, 15]])


def test_llmrouterbench_takes_the_newest_run_that_is_no_trial(tmp_path: Path) -> None:
    result(tmp_path, "big", [record(1, 0.25)], stamp="20250901_120000")
    result(tmp_path, "big", [record(1, 0.5)], stamp="20250902_080000")
    result(tmp_path, "big", [record(1, 0.75)], stamp="20250903_080000", demo=True)
    assert llmrouterbench.convert(tmp_path).scores.tolist() == [[0.5]]


@pytest.mark.parametrize(
    ("bad", "column", "rule"),
    [
        (record(2, 40.0), "score", SCORE.rule),
        (record(2, 1.0, -1.0), "cost", COST.rule),
        (record("2", 1.0), "index", llmrouterbench.IS_RECORD),
        (7, "index", llmrouterbench.IS_RECORD),
        (record(1, 1.0), "index", IS_UNIQUE),
    ],
)
def test_llmrouterbench_names_the_record_that_breaks_a_rule(tmp_path: Path, bad: Any, column: str, rule: str) -> None:
    path = result(tmp_path, "big", [record(1, 1.0), bad])
    with pytest.raises(BadRow) as caught:
        llmrouterbench.convert(path)
    assert (caught.value.file, caught.value.row, caught.value.column) == (str(path), 2, column)
    assert caught.value.rule == rule
    assert len(llmrouterbench.convert(path, on_bad=lambda _: None)) == 1


@pytest.mark.parametrize("content", ["[]", "{", '{"records": 3}'])
def test_llmrouterbench_refuses_other_json(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(UnusableLog, match=r"x\.json"):
        llmrouterbench.convert(tmp_path)


MAPPING = ColumnMapping(
    prompt="question",
    source="kind",
    arms={"m": ArmColumns(score="ok", cost_usd="usd", output_tokens="len"), "n": ArmColumns(score="ok2")},
)


def test_a_mapping_of_columns_reads_any_table(tmp_path: Path) -> None:
    rows = [{"question": "a", "kind": "k", "ok": 1, "usd": 0.5, "len": 7, "ok2": "", "more": "x"}]
    log = convert(dump_csv(rows, tmp_path / "own.csv"), columns=MAPPING)
    assert (log.arm_ids, log.query_ids, log.prompts, log.sources) == (("m", "n"), ("own:1",), ("a",), ("k",))
    np.testing.assert_array_equal(log.scores, [[1, NAN]])
    np.testing.assert_array_equal(log.costs_usd, [[0.5, NAN]])
    np.testing.assert_array_equal(log.output_tokens, [[7, NAN]])


def test_a_mapped_column_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableLog, match="'usd'"):
        convert(dump_jsonl([{"question": "a", "kind": "k", "ok": 1}], tmp_path / "own.jsonl"), columns=MAPPING)


def test_paretobandit_lines_hold_all_arms(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "source": "s", "arms": {"x/1": {"reward": 0.5, "cost": 1e-4, "near_best": True}}},
        {"prompt": "q", "source": "s", "arms": {"y": {"reward": 1, "cost": 2e-4}}},
        {"prompt": "r", "source": "s", "arms": ["x/1"]},
    ]
    bad: list[BadRow] = []
    log = paretobandit.convert(dump_jsonl(rows, tmp_path / "test_holdout.jsonl"), on_bad=bad.append)
    assert (log.arm_ids, log.splits, log.query_ids[0]) == (("x/1", "y"), ("test", "test"), "test_holdout:1")
    np.testing.assert_array_equal(log.scores, [[0.5, NAN], [NAN, 1.0]])
    np.testing.assert_array_equal(log.costs_usd, [[1e-4, NAN], [NAN, 2e-4]])
    assert [(row.row, row.rule) for row in bad] == [(3, paretobandit.IS_ARMS)]
