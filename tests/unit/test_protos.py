"""The wire contract: committed code in step with the protos, no broken client, and rules that hold."""

from __future__ import annotations

import importlib.util
import math
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import protovalidate
import pytest
from google.protobuf.message import Message

from bandit_router.v1 import admin_pb2, resources_pb2, router_pb2

ROOT = Path(__file__).resolve().parents[2]
RETIRED_FIELD = "  string policy_id = 10;\n"
RELAXED_RULE = "string query = 3 [(buf.validate.field).string.max_bytes = 1048576]"


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("protos_tool", ROOT / "tools" / "protos.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = load_tool()


@pytest.fixture
def changed_protos(tmp_path: Path) -> Path:
    """A copy of protos/ that a test may edit."""
    return Path(shutil.copytree(ROOT / "protos", tmp_path / "protos"))


def edit(protos: Path, old: str, new: str) -> None:
    path = protos / "bandit_router/v1/router.proto"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def test_generated_code_is_what_the_protos_give() -> None:
    assert tool.drift() == []


def test_a_changed_proto_is_reported_as_drift(changed_protos: Path) -> None:
    edit(changed_protos, RELAXED_RULE, "string query = 3")
    assert tool.drift(protos=changed_protos) == ["different: bandit_router/v1/router_pb2.py"]


def test_a_leftover_and_a_missing_module_are_reported_as_drift(tmp_path: Path) -> None:
    committed = tmp_path / "bandit_router" / "v1"
    shutil.copytree(ROOT / "bandit_router/v1", committed)
    (committed / "events_pb2.py").rename(committed / "gone_pb2.py")
    assert tool.drift(committed=tmp_path) == [
        "missing: bandit_router/v1/events_pb2.py",
        "stale: bandit_router/v1/gone_pb2.py",
    ]


def test_protos_pass_the_linter_and_are_formatted() -> None:
    assert tool.lint() == 0


def test_the_linter_refuses_a_field_without_a_comment(changed_protos: Path) -> None:
    edit(changed_protos, "  // Why this arm.\n", "")
    assert tool.lint(changed_protos) != 0


def test_no_released_client_is_broken() -> None:
    assert tool.breaking() == 0


def test_a_removed_field_is_reported_as_breaking(changed_protos: Path, capfd: pytest.CaptureFixture[str]) -> None:
    edit(changed_protos, RETIRED_FIELD, "")
    assert tool.breaking(changed_protos) != 0
    assert '"policy_id" on message "RouteResponse" was deleted' in capfd.readouterr().out


def test_generated_code_needs_no_module_for_the_validation_rules() -> None:
    code = (
        "import sys; from bandit_router.v1 import admin_pb2_grpc, router_pb2_grpc;"
        "sys.exit('buf' in sys.modules or 'buf.validate' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("package", "pattern"),
    [
        ("grpcio", r"GRPC_GENERATED_VERSION = '([\d.]+)'"),
        ("protobuf", r"ValidateProtobufRuntimeVersion\(\s*\S+,\s*(\d+),\s*(\d+),\s*(\d+)"),
    ],
)
def test_runtime_floors_are_what_generated_code_checks_at_import(package: str, pattern: str) -> None:
    sources = [path.read_text() for path in (ROOT / "bandit_router/v1").glob("*_pb2*.py")]
    checked = {".".join(match.groups()) for text in sources for match in re.finditer(pattern, text)}
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    floors = {m[1] for m in (re.match(rf"{package}>=([\d.]+)", line) for line in dependencies) if m}
    assert floors == checked


def broken_rules(message: Message) -> list[str]:
    """Top-level fields or one-ofs that break a rule, in order, each once."""
    violations = protovalidate.collect_violations(message)
    return list(dict.fromkeys(v.proto.field.elements[0].field_name for v in violations if v.proto.field))


def route(**fields: object) -> router_pb2.RouteRequest:
    return router_pb2.RouteRequest(**{"tenant_id": "acme", "query": "hello", **fields})  # type: ignore[arg-type]


def feedback(**fields: object) -> router_pb2.FeedbackRequest:
    return router_pb2.FeedbackRequest(**{"tenant_id": "acme", "decision_id": "p07-1", **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("arm_id", ["gpt-4o", "meta-llama/llama-3.1-8b-instruct", "a:b@1", "x" * 128])
def test_model_names_are_good_arm_ids(arm_id: str) -> None:
    assert broken_rules(route(allowed_arm_ids=[arm_id])) == []


@pytest.mark.parametrize("tenant_id", ["", " ", "a b", "-a", "a\n", "a{b}", "é", "x" * 129])
def test_odd_tenant_ids_are_refused(tenant_id: str) -> None:
    assert broken_rules(route(tenant_id=tenant_id)) == ["tenant_id"]


def test_a_request_needs_an_input() -> None:
    assert broken_rules(router_pb2.RouteRequest(tenant_id="acme")) == ["input"]


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf], [0.0] * 4097])
def test_an_embedding_is_finite_and_of_bounded_length(values: list[float]) -> None:
    embedding = router_pb2.Embedding(values=values)
    assert broken_rules(router_pb2.RouteRequest(tenant_id="acme", embedding=embedding)) == ["embedding"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("query", "x" * (1024 * 1024 + 1)),
        ("request_id", ""),
        ("prompt_tokens", -1),
        ("max_cost_nusd", -1),
        ("min_expected_reward", 1.01),
        ("allowed_arm_ids", ["a", "a"]),
        ("features", {"hour": math.inf}),
    ],
)
def test_a_route_request_outside_the_rules_is_refused(field: str, value: object) -> None:
    assert broken_rules(route(**{field: value})) == [field]


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, -0.001, 1.001])
def test_a_reward_is_a_number_from_0_to_1(reward: float) -> None:
    assert broken_rules(feedback(reward=reward)) == ["reward"]


def test_absent_and_zero_rewards_are_both_taken() -> None:
    assert broken_rules(feedback()) == []
    assert broken_rules(feedback(reward=0.0)) == []


def test_a_feedback_does_not_both_set_and_retract_a_reward() -> None:
    assert len(protovalidate.collect_violations(feedback(reward=0.5, retract=True))) == 1
    assert protovalidate.collect_violations(feedback(retract=True)) == []


def test_metrics_are_few_and_finite() -> None:
    assert broken_rules(feedback(metrics={f"m{i}": 1.0 for i in range(64)})) == []
    assert broken_rules(feedback(metrics={f"m{i}": 1.0 for i in range(65)})) == ["metrics"]
    assert broken_rules(feedback(metrics={"m": math.nan})) == ["metrics"]


@pytest.mark.parametrize("price", ["0", "0.15", "15", "0.000000001"])
def test_prices_are_plain_decimals(price: str) -> None:
    arm = resources_pb2.Arm(arm_id="a", input_usd_per_mtok=price, output_usd_per_mtok=price)
    assert broken_rules(arm) == []


@pytest.mark.parametrize("price", ["", "-1", "1e3", ".5", "1.", "NaN", "0,15", "1" * 33])
def test_other_spellings_of_a_price_are_refused(price: str) -> None:
    arm = resources_pb2.Arm(arm_id="a", input_usd_per_mtok=price, output_usd_per_mtok="1")
    assert broken_rules(arm) == ["input_usd_per_mtok"]


def test_a_limit_stays_where_lua_counts_exactly() -> None:
    def limit(limit_nusd: int) -> admin_pb2.SetBudgetLimitRequest:
        return admin_pb2.SetBudgetLimitRequest(tenant_id="acme", limit_nusd=limit_nusd)

    assert broken_rules(limit(0)) == broken_rules(limit(2**53)) == []
    assert broken_rules(limit(-1)) == broken_rules(limit(2**53 + 1)) == ["limit_nusd"]


def test_ids_and_a_limit_make_a_tenant() -> None:
    tenant = resources_pb2.Tenant(tenant_id="acme", pool_id="main", limit_nusd=10**9)
    assert broken_rules(admin_pb2.CreateTenantRequest(tenant=tenant)) == []
    assert broken_rules(admin_pb2.CreateTenantRequest()) == ["tenant"]


def test_a_batch_is_bounded_and_an_invalid_item_does_not_fail_it() -> None:
    batch = router_pb2.RouteBatchRequest
    assert broken_rules(batch()) == broken_rules(batch(requests=[route()] * 1001)) == ["requests"]
    assert broken_rules(batch(requests=[route(), route(tenant_id="")])) == []
