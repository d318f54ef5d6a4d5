"""The same sweep on a local Ray or Dask cluster and in one process: equal results, request by request."""

from __future__ import annotations

import pytest

from bandit_router_sim.replay.setting import POLICIES
from bandit_router_sim.replay.sweep import settings_of, sweep
from tests.unit.sim.compare.compare_logs import make_material
from tests.unit.sim.replay.test_sweep import CUT, same

NEEDS = {"ray": "ray", "dask": "distributed"}


@pytest.mark.bench
@pytest.mark.timeout(600)
@pytest.mark.parametrize("backend", list(NEEDS))
def test_a_cluster_and_a_single_process_agree(backend: str) -> None:
    pytest.importorskip(NEEDS[backend], reason="clusters are an extra: pip install 'bandit-router[cluster]'")
    material = make_material(60)
    settings = settings_of([POLICIES["default"]], [2e-4, 1e-3], seeds=6, learn_share=0.5, scenario=CUT)
    serial = dict(sweep(material, settings, jobs=1))
    spread = dict(sweep(material, settings, jobs=2, backend=backend))
    assert spread.keys() == serial.keys()
    assert all(same(spread[setting], serial[setting]) for setting in settings)
