from __future__ import annotations

import math

import pytest

from bandit_router.core.preferences.rows import BadPriorRow, battle_columns, json_rows, score_columns

BATTLE = {"prompt": "p", "model_a": "x", "model_b": "y", "winner": "a", "judge": "someone"}


def test_battles_become_columns_and_other_columns_are_ignored() -> None:
    found = battle_columns([BATTLE, {**BATTLE, "winner": "tie"}])
    assert (found.prompts, found.winners) == (("p", "p"), ("a", "tie"))
    assert battle_columns([]).prompts == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"winner": "c"}, "row 2: winner must be one of a, b, tie, got 'c'"),
        ({"winner": None}, "row 2: winner must be a text"),
        ({"model_a": ""}, "row 2: model_a must be a text, got ''"),
        ({"prompt": 3}, "row 2: prompt must be a text, got 3"),
    ],
)
def test_a_bad_battle_is_named_with_its_row_column_and_rule(change: dict[str, object], message: str) -> None:
    with pytest.raises(BadPriorRow) as caught:
        battle_columns([BATTLE, {**BATTLE, **change}])
    assert str(caught.value).startswith(message)


def test_cells_that_are_missing_or_null_were_not_scored() -> None:
    found = score_columns([{"prompt": "p", "score__x": 0.5, "cost__x": 1}, {"prompt": "q", "score__y": 1}])
    assert found.prompts == ("p", "q")
    assert found.scores["x"][0] == 0.5
    assert math.isnan(found.scores["x"][1])
    assert found.scores["y"][1] == 1.0
    assert set(score_columns([{"prompt": "p", "score__x": None, "score__y": 0.0}]).scores) == {"y"}


@pytest.mark.parametrize("value", [-0.1, 1.1, "0.5", True, math.inf])
def test_a_score_lies_between_zero_and_one(value: object) -> None:
    with pytest.raises(BadPriorRow, match="row 1: score__x must be a number"):
        score_columns([{"prompt": "p", "score__x": value}])


def test_lines_that_are_no_objects_are_refused() -> None:
    assert list(json_rows([b'{"a": 1}\n', b"\n", b'{"a": 2}'])) == [{"a": 1}, {"a": 2}]
    for line, rule in ((b"[1]", "must be an object"), (b"{", "is no JSON")):
        with pytest.raises(BadPriorRow, match=f"line 2: {rule}"):
            list(json_rows([b"{}", line]))
