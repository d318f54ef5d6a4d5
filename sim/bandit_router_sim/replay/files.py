"""Replays as files: `replay.json` and `replay.parquet` with a row per run, `requests.parquet` with one per request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bandit_router_sim.kept.cache import Finished
from bandit_router_sim.logs.full import FullLog
from bandit_router_sim.replay.result import REFUSED
from bandit_router_sim.replay.setting import Setting

Runs = Sequence[tuple[FullLog, Setting, Finished]]

_RUN = ("log", "policy", "scenario", "budget_usd", "seed")
_COUNTED = ("phase", "window")
_REAL = ("cost_usd", "price_per_usd", "propensity", "expected_reward", "expected_cost_usd")


def write_json(runs: Runs, path: Path) -> None:
    """`{"runs": [...]}` with the summary of every run."""
    rows = [finished.row for _, _, finished in runs]
    path.write_text(json.dumps({"runs": rows}, indent=1) + "\n", encoding="utf-8")


def write_results(runs: Runs, directory: Path) -> None:
    """Write the three files, the last one run by run."""
    import pyarrow as pa
    from pyarrow import parquet

    write_json(runs, directory / "replay.json")
    parquet.write_table(pa.Table.from_pylist([finished.row for _, _, finished in runs]), directory / "replay.parquet")
    schema = _schema()
    with parquet.ParquetWriter(directory / "requests.parquet", schema) as writer:
        for run in runs:
            writer.write_table(pa.table(dict(_requests(run)), schema=schema))


def _schema() -> Any:
    """Columns of `requests.parquet`, fixed so that a run without a single arm fits in, too."""
    import pyarrow as pa

    kinds = {"log": pa.string(), "policy": pa.string(), "scenario": pa.string(), "budget_usd": pa.float64()}
    counted = dict.fromkeys(_COUNTED, pa.int32())
    real = dict.fromkeys(("reward", *_REAL), pa.float32())
    named = dict.fromkeys(("query_id", "tenant_id", "arm_id"), pa.string())
    return pa.schema({**kinds, "seed": pa.int64(), **named, **counted, **real})


def _requests(run: tuple[FullLog, Setting, Finished]) -> Iterator[tuple[str, Any]]:
    """Columns over the reported requests of a run, in order; `arm_id` is null where the request was refused."""
    log, setting, finished = run
    account: Mapping[str, Any] = finished.details
    tenant_ids = [tenant.tenant_id for tenant in setting.scenario.tenants]
    for name in _RUN:
        yield name, np.repeat(finished.row[name], len(finished.rewards))
    yield "query_id", [log.query_ids[row] for row in account["row"].tolist()]
    yield "tenant_id", [tenant_ids[tenant] for tenant in account["tenant"].tolist()]
    yield "arm_id", [None if arm == REFUSED else log.arm_ids[arm] for arm in account["arm"].tolist()]
    yield "reward", finished.rewards
    for name in (*_COUNTED, *_REAL):
        yield name, account[name]
