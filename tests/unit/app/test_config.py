"""Configuration: file, environment and flags in their order, and faults by the name of their key."""

from __future__ import annotations

from pathlib import Path

import pytest

from bandit_router.app.config import Config, ConfigError, load_config
from bandit_router.core.resources import OutagePolicy, WindowKind


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


def test_defaults_make_an_embedded_server(monkeypatch: pytest.MonkeyPatch) -> None:
    config = load_config()
    assert (config.redis_url, config.listen, config.data_dir) == ("", "127.0.0.1:50051", Path("bandit-router-data"))


def test_flags_outrank_the_environment_which_outranks_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("listen: 127.0.0.1:1\nstore_timeout_s: 1\ndrain_s: 1\n")
    monkeypatch.setenv("BANDIT_ROUTER_LISTEN", "127.0.0.1:2")
    monkeypatch.setenv("BANDIT_ROUTER_STORE_TIMEOUT_S", "2")
    config = load_config(file, {"listen": "127.0.0.1:3", "redis_url": None})
    assert (config.listen, config.store_timeout_s, config.drain_s) == ("127.0.0.1:3", 2.0, 1.0)


def test_resources_are_declared_in_the_words_of_the_protos(file: Path) -> None:
    file.write_text(
        """
pools:
  - pool_id: main
    seed: 3
    arms:
      - {arm_id: small, input_usd_per_mtok: 0.15, output_usd_per_mtok: "0.60"}
tenants:
  - {tenant_id: acme, pool_id: main, limit_usd: 0.1, window: {kind: month, time_zone: Europe/Berlin, start_day: 3}}
"""
    )
    config = load_config(file)
    arm = config.pools[0].arms[0].arm()
    assert (arm.prices.input_nusd_per_mtok, arm.prices.cached_input_nusd_per_mtok) == (150_000_000, 150_000_000)
    tenant = config.tenants[0].tenant()
    assert (tenant.limit_nusd, tenant.window.kind, tenant.window.start_day) == (100_000_000, WindowKind.MONTH, 3)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("lisden: x", "unknown key 'lisden'"),
        ("workers: 0", "workers: Input should be greater than or equal to 1"),
        ("listen: nowhere", "listen: must be HOST:PORT"),
        ("listen: '127.0.0.1:70000'", "listen: must be HOST:PORT"),
        ("metrics_port: many", "metrics_port: "),
        ("store_timeout_s: 0", "store_timeout_s: "),
        ("appendfsync: never", "appendfsync: "),
        ("pools: [{pool_id: p, dimensions: 3}]", "unknown key 'pools.0.dimensions'"),
        ("pools: [{pool_id: p, arms: [{arm_id: a, input_usd_per_mtok: -1, output_usd_per_mtok: 1}]}]", "input_usd"),
        ("tenants: [{tenant_id: t, pool_id: p}]", "limit_usd"),
        ("tenants: [{tenant_id: t, pool_id: p, limit_usd: 1, window: {kind: decade}}]", "tenants.0.window.kind"),
        ("tenants: [{tenant_id: t, pool_id: p, limit_usd: 1, window: {knd: day}}]", "tenants.0.window.knd"),
        ("pools: [{pool_id: p, dimension: 999}]", "pools.0.dimension: must be in"),
        ("pools: [{pool_id: p, learner: oracle}]", "pools.0.learner: "),
        ("tenants: [{tenant_id: t, pool_id: p, limit_usd: 1, hold_ttl_s: -1}]", "tenants.0.hold_ttl: "),
        ("tenants: [{tenant_id: t, pool_id: p, limit_usd: 1, outage_policy: fail_open}]", "outage_allowance_nusd"),
        ("- a list", "must be a mapping"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_fault_names_file_and_key(file: Path, content: str, told: str) -> None:
    file.write_text(content)
    with pytest.raises(ConfigError) as refused:
        load_config(file)
    assert told in str(refused.value)
    assert str(file) in str(refused.value)


def test_a_worker_reads_the_configuration_that_its_parent_had(file: Path) -> None:
    file.write_text(
        "workers: 2\nlisten: 127.0.0.1:0\nappendfsync: always\n"
        "pools: [{pool_id: p, arms: [{arm_id: a, input_usd_per_mtok: 0.1, output_usd_per_mtok: '1'}]}]\n"
        "tenants: [{tenant_id: t, pool_id: p, limit_usd: 1.5, window: {kind: month, start_day: 3},"
        " outage_policy: fail_open, outage_allowance_nusd: 7}]\n"
    )
    config = load_config(file)
    assert Config.model_validate_json(config.model_dump_json()).model_dump() == config.model_dump()
    assert config.tenants[0].tenant().outage_policy is OutagePolicy.FAIL_OPEN


def test_every_fault_has_a_line(file: Path) -> None:
    file.write_text("one: 1\ntwo: 2\njson_logs: 3\n")
    with pytest.raises(ConfigError) as refused:
        load_config(file)
    assert len(str(refused.value).splitlines()) == 3


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "nothing.yaml")


def test_an_unknown_environment_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANDIT_ROUTER_LISTNE", "x")
    with pytest.raises(ConfigError, match="BANDIT_ROUTER_LISTNE"):
        load_config()


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().listen = "x"  # type: ignore[misc]


def test_the_commands_own_variable_is_no_unknown_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANDIT_ROUTER_TARGET", "router:50051")
    assert load_config().listen == "127.0.0.1:50051"
