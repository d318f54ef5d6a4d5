from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bandit_router.adapters.encoding.factory import make_encoder
from bandit_router.app.cli.root import app
from bandit_router.app.prior_files import UnreadablePriorFile, read_battles, read_scores
from bandit_router.core.preferences.fitting import contexts_of
from bandit_router.core.prior_codec import decode_prior
from bandit_router.core.projection import identity_projection

TOPICS = ("integral of the function", "poem about the sea", "recipe for a soup", "bug in this python program")


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def battle_rows(count: int = 120) -> list[dict[str, Any]]:
    """`terse` wins on the first and last topic, `chatty` on the others; `weak` always loses."""
    rows = []
    for number in range(count):
        topic = number % 4
        prompt = f"{TOPICS[topic]} number {number}"
        winner = "a" if topic in (0, 3) else "b"
        rows.append({"prompt": prompt, "model_a": "terse", "model_b": "chatty", "winner": winner})
        rows.append({"prompt": prompt, "model_a": "weak", "model_b": "chatty", "winner": "b"})
    return rows


def score_rows(count: int = 60) -> list[dict[str, Any]]:
    return [
        {"prompt": f"{TOPICS[n % 4]} case {n}", "score__chatty": 0.6 + 0.01 * (n % 5), "score__new": None}
        for n in range(count)
    ]


def fit(*options: str | Path) -> Any:
    return CliRunner().invoke(app, ["prior", "fit", *map(str, options)])


@pytest.mark.parametrize("method", ["bradley-terry", "pilot"])
def test_a_prior_fitted_by_the_command_knows_who_is_good(tmp_path: Path, method: str) -> None:
    battles, scores = written(tmp_path / "b.jsonl", battle_rows()), written(tmp_path / "s.jsonl", score_rows())
    out = tmp_path / "p.prior"
    result = fit("--battles", battles, "--scores", scores, "--out", out, "--method", method, "--dimension", 8, "--json")
    assert result.exit_code == 0, result.output
    prior = decode_prior(out.read_bytes())
    assert (prior.encoder_id, prior.dimension, prior.context_length) == ("static", 8, 10)
    assert (prior.projection is not None) == (method == "pilot")
    assert set(prior.arms) == {"chatty", "terse", "weak"}
    assert prior.arms["weak"].mean[0] < min(prior.arms["terse"].mean[0], prior.arms["chatty"].mean[0])
    prompts = [row["prompt"] for row in score_rows()]
    embeddings = make_encoder("static").encode(prompts)
    contexts = contexts_of(prompts, embeddings, prior.projection or identity_projection(embeddings.shape[1], 8))
    assert (contexts @ prior.arms["chatty"].mean).mean() == pytest.approx(0.62, abs=0.05)
    assert prior.provenance["files"] == "b.jsonl, s.jsonl"
    assert json.loads(result.stdout)["provenance"] == prior.provenance


def test_scores_alone_make_a_prior_and_inspect_shows_it(tmp_path: Path) -> None:
    out = tmp_path / "p.prior"
    assert fit("--scores", written(tmp_path / "s.jsonl", score_rows()), "--out", out).exit_code == 0
    shown = CliRunner().invoke(app, ["prior", "inspect", str(out)])
    assert "chatty" in shown.stdout
    assert "new" not in shown.stdout


def test_the_same_files_make_the_same_prior(tmp_path: Path) -> None:
    battles = written(tmp_path / "b.jsonl", battle_rows(60))
    outs = [tmp_path / "1", tmp_path / "2"]
    for out in outs:
        assert fit("--battles", battles, "--method", "pilot", "--out", out).exit_code == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "neither battles"),
        (["--method", "guess"], "'guess' is not a valid Method"),
        (["--encoder", "vector:4"], "text"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_its_reason(tmp_path: Path, options: list[str], message: str) -> None:
    battles = ["--battles", str(written(tmp_path / "b.jsonl", battle_rows(8)))] if options else []
    result = fit(*battles, *options, "--out", tmp_path / "p")
    assert result.exit_code == 1
    assert message in result.stderr
    assert not (tmp_path / "p").exists()


def test_a_bad_row_is_named_with_its_file(tmp_path: Path) -> None:
    path = written(tmp_path / "b.jsonl", [*battle_rows(1), {"prompt": "p"}])
    with pytest.raises(UnreadablePriorFile, match=r"b\.jsonl: row 3: model_a"):
        read_battles([path])


def test_files_of_scores_are_read_as_one(tmp_path: Path) -> None:
    one = written(tmp_path / "1.jsonl", [{"prompt": "p", "score__a": 1}])
    two = written(tmp_path / "2.jsonl", [{"prompt": "q", "score__b": 0}])
    found = read_scores([one, two])
    assert found.prompts == ("p", "q")
    assert str(found.scores["a"]) == "(1.0, nan)"
    assert str(found.scores["b"]) == "(nan, 0.0)"


def test_parquet_says_what_json_lines_say(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    rows = battle_rows(8)
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "b.parquet")
    assert read_battles([tmp_path / "b.parquet"]) == read_battles([written(tmp_path / "b.jsonl", rows)])


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(UnreadablePriorFile, match=r"b\.parquet"):
        read_battles([tmp_path / "b.parquet"])
