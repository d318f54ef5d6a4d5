from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st

from bandit_router.v1 import events_pb2, resources_pb2
from bandit_router_sim.logs import decision_events as de
from bandit_router_sim.logs.decisions import DecisionLog
from bandit_router_sim.logs.errors import BadRow, UnusableLog

START_MS = 1_760_000_000_000
CHANGES = {
    "bill": events_pb2.EVENT_CHANGE_BILLED,
    "cancel": events_pb2.EVENT_CHANGE_CANCELLED,
    "expire": events_pb2.EVENT_CHANGE_EXPIRED,
    "reward": events_pb2.EVENT_CHANGE_REWARDED,
    "retract": events_pb2.EVENT_CHANGE_RETRACTED,
    "default": events_pb2.EVENT_CHANGE_DEFAULTED,
}


def timestamp(ms: int) -> Timestamp:
    return Timestamp(seconds=ms // 1000, nanos=ms % 1000 * 1_000_000)


def arm_scores(propensities: dict[str, float]) -> list[resources_pb2.ArmScore]:
    """Arms with these propensities; those of 0 are excluded."""
    return [
        resources_pb2.ArmScore(
            arm_id=arm_id,
            expected_reward=0.5 if p else 0.0,
            expected_cost_nusd=2_000 if p else 0,
            propensity=p,
            excluded_because="" if p else "disabled",
        )
        for arm_id, p in propensities.items()
    ]


def event(decision: str = "d0", *, changes: tuple[str, ...] = ("reward",), at: int = 10, **more: Any) -> dict[str, Any]:
    """An event as the service exports it."""
    fields: dict[str, Any] = {
        "changes": [CHANGES[change] for change in changes],
        "decision_id": decision,
        "tenant_id": "t",
        "arm_id": "a",
        "propensity": 0.25,
        "context": [1.0, 0.5],
        "arms": arm_scores({"a": 0.25, "b": 0.75, "c": 0.0}),
        "price_per_usd": 3.0,
        "decided_at": timestamp(START_MS),
        "recorded_at": timestamp(START_MS + at),
    }
    message = events_pb2.Event(**(fields | more))
    return dict(MessageToDict(message, preserving_proto_field_name=True))


def dump(rows: list[Any], path: Path) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def read(rows: list[Any]) -> DecisionLog:
    with tempfile.TemporaryDirectory() as folder:
        return de.read_decision_log(dump(rows, Path(folder, "log.jsonl")))[0]


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_an_exported_event_becomes_a_row(tmp_path: Path, suffix: str) -> None:
    rows = [event(changes=("bill", "reward"), reward=0.0, cost_nusd=1_500), event("d1", arm_id="b", propensity=0.75)]
    log, skipped = de.read_decision_log(dump(rows, tmp_path / f"log{suffix}"), name="mine")
    assert (log.name, log.arm_ids, log.decision_ids, skipped.total) == ("mine", ("a", "b", "c"), ("d0", "d1"), 0)
    assert (log.tenant_ids, log.sessions) == (("t", "t"), ("", ""))
    assert (log.actions.tolist(), log.contexts.tolist()) == ([0, 1], [[1.0, 0.5], [1.0, 0.5]])
    assert log.feasible.tolist() == [[True, True, False]] * 2
    np.testing.assert_array_equal(log.propensities, [[0.25, 0.75, 0.0]] * 2)
    np.testing.assert_array_equal(log.rewards, [0.0, np.nan])
    np.testing.assert_array_equal(log.costs_usd, [1.5e-6, np.nan])
    np.testing.assert_array_equal(log.expected_rewards, [[0.5, 0.5, np.nan]] * 2)
    np.testing.assert_array_equal(log.expected_costs_usd, [[2e-6, 2e-6, np.nan]] * 2)
    assert (log.prices_per_usd.tolist(), log.decided_ms.tolist()) == ([3.0, 3.0], [START_MS] * 2)
    assert log.observed_ms.tolist() == [START_MS + 10] * 2


@dataclass
class Outcome:
    """What a decision's feedback amounts to, applied one at a time."""

    reward: float | None = None
    defaulted: bool = False
    cost_nusd: int | None = None
    billed: bool = False

    @property
    def observed(self) -> float | None:
        return None if self.defaulted else self.reward

    def apply(self, change: str, value: int) -> None:
        if change in ("reward", "default", "retract"):
            self.defaulted = change == "default"
        if change in ("reward", "default"):
            self.reward = value / 10
        elif change == "retract":
            self.reward = None
        else:
            self.cost_nusd = 0 if change == "cancel" else value
            self.billed = change != "expire"


steps = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(sorted(CHANGES)), st.integers(0, 10)), min_size=1, max_size=9
)


@settings(deadline=None, max_examples=60)
@given(steps, st.randoms(use_true_random=False))
def test_the_latest_state_of_a_decision_wins_in_whatever_order_the_file_is(steps: list[Any], order: Any) -> None:
    outcomes = [Outcome() for _ in range(3)]
    rows = []
    observed = [-1, -1, -1]
    for at, (decision, change, value) in enumerate(steps):
        outcome = outcomes[decision]
        outcome.apply(change, value)
        state = {"reward": outcome.reward, "cost_nusd": outcome.cost_nusd}
        known: dict[str, Any] = {key: value for key, value in state.items() if value is not None}
        known["reward_defaulted"] = outcome.defaulted
        decided = timestamp(START_MS + decision)
        rows.append(event(f"d{decision}", changes=(change,), at=100 + at, decided_at=decided, **known))
        if change not in ("expire", "default"):
            observed[decision] = START_MS + 100 + at
    order.shuffle(rows)
    log = read([*rows, rows[0]])
    seen = sorted({decision for decision, _, _ in steps})
    assert log.decision_ids == tuple(f"d{decision}" for decision in seen)
    costs = [outcomes[d].cost_nusd if outcomes[d].billed else None for d in seen]
    np.testing.assert_array_equal(log.rewards, np.asarray([outcomes[d].observed for d in seen], dtype=float))
    np.testing.assert_allclose(log.costs_usd, np.asarray(costs, dtype=float) / 1e9)
    assert log.observed_ms.tolist() == [observed[d] for d in seen]


def test_without_times_the_order_of_the_file_counts() -> None:
    rows = [event(reward=0.25), event(reward=0.5)]
    for row in rows:
        del row["recorded_at"], row["decided_at"]
    log = read(rows)
    assert (log.rewards.tolist(), log.observed_ms.tolist(), log.decided_ms.tolist()) == ([0.5], [-1], [-1])


def test_arms_that_come_later_widen_the_log() -> None:
    later = event("d1", arms=arm_scores({"b": 0.5, "z": 0.5}), arm_id="z", propensity=0.5)
    log = read([event(), later])
    assert log.arm_ids == ("a", "b", "c", "z")
    assert log.propensities.tolist() == [[0.25, 0.75, 0.0, 0.0], [0.0, 0.5, 0.0, 0.5]]
    assert np.isnan(log.expected_rewards[0, 3])
    np.testing.assert_allclose(log.propensities.sum(axis=1), 1.0)


@pytest.mark.parametrize("arms", [[], arm_scores({"a": 0.0, "b": 0.0})])
def test_a_log_without_propensities_is_refused_with_the_reason(tmp_path: Path, arms: list[Any]) -> None:
    with pytest.raises(UnusableLog, match="propensit") as caught:
        de.read_decision_log(dump([event(arms=arms), event("d1", arms=arms)], tmp_path / "log.jsonl"), skip_bad=True)
    assert caught.value.file == str(tmp_path / "log.jsonl")


VIOLATIONS: list[tuple[dict[str, Any], str, str]] = [
    ({"arms": None}, "arms", de.HAS_PROPENSITIES),
    ({"arms": [{"arm_id": "a", "propensity": 0.5}]}, "arms", de.SUM_TO_ONE),
    ({"arms": [{"arm_id": "a", "propensity": 1.5}, {"arm_id": "b", "propensity": -0.5}]}, "arms", de.SUM_TO_ONE),
    ({"arms": [{"arm_id": "a", "propensity": "NaN"}]}, "arms", de.SUM_TO_ONE),
    ({"arms": [{"arm_id": "a", "propensity": 0.5}] * 2}, "arms", de.EXCLUDED_HAS_NONE),
    ({"arms": [{"arm_id": "a", "propensity": 1.0, "excluded_because": "tier"}]}, "arms", de.EXCLUDED_HAS_NONE),
    ({"arm_id": "c"}, "arm_id", de.ARM_IS_FEASIBLE),
    ({"arm_id": "other"}, "arm_id", de.ARM_IS_FEASIBLE),
    ({"propensity": 0.5}, "arm_id", de.ARM_IS_FEASIBLE),
    ({"context": [1.0]}, "context", de.IS_CONTEXT),
    ({"context": [1.0, float("inf")]}, "context", de.IS_CONTEXT),
    ({"context": [1.0, None]}, "context", de.IS_CONTEXT),
    ({"reward": 1.5}, "reward", de.IS_REWARD),
    ({"reward": "NaN"}, "reward", de.IS_REWARD),
    ({"reward": "good"}, "reward", "is a number"),
    ({"cost_nusd": "-1"}, "cost_nusd", de.IS_COST),
    ({"cost_nusd": "1.5"}, "cost_nusd", "is a whole number of 64 bits"),
    ({"cost_nusd": 10**400}, "cost_nusd", "is a whole number of 64 bits"),
    ({"price_per_usd": "Infinity"}, "price_per_usd", de.IS_PRICE),
    ({"decided_at": "yesterday"}, "decided_at", "is a time as in RFC 3339"),
    ({"decision_id": ""}, "decision_id", "is text and not empty"),
    ({"decision_id": 7}, "decision_id", "is text"),
    ({"reward_defaulted": "no"}, "reward_defaulted", "is true or false"),
    ({"changes": "EVENT_CHANGE_BILLED"}, "changes", "is a list"),
]


@pytest.mark.parametrize(("fields", "column", "rule"), VIOLATIONS)
def test_each_broken_rule_is_named_and_can_be_skipped(
    tmp_path: Path, fields: dict[str, Any], column: str, rule: str
) -> None:
    path = dump([event("d0"), event("d1") | fields, event("d2")], tmp_path / "log.jsonl")
    with pytest.raises(BadRow) as caught:
        de.read_decision_log(path)
    bad = caught.value
    assert (bad.file, bad.row, bad.column, bad.rule) == (str(path), 2, column, rule)
    log, skipped = de.read_decision_log(path, skip_bad=True)
    assert (log.decision_ids, skipped.by_rule) == (("d0", "d2"), {rule: 1})


def test_times_of_parquet_and_of_other_zones_are_the_same_moment(tmp_path: Path) -> None:
    texts = ["2026-01-01T00:00:00.123456789Z", "2026-01-01T01:00:00.123+01:00"]
    assert read([event() | {"decided_at": text} for text in texts[:1]]).decided_ms[0] == 1767225600123
    assert read([event() | {"decided_at": text} for text in texts[1:]]).decided_ms[0] == 1767225600123
    row = event() | {"decided_at": pa.scalar(1767225600123, pa.timestamp("ms")).as_py()}
    log, _ = de.read_decision_log(dump([row], tmp_path / "log.parquet"))
    assert log.decided_ms[0] == 1767225600123
