from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from bandit_router.core.resources import WindowKind
from bandit_router_sim.replay import scenario_file
from bandit_router_sim.replay.scenario import (
    ArmChange,
    PriceChange,
    QualityChange,
    Scenario,
    ScenarioError,
    TenantShare,
)
from bandit_router_sim.replay.scenario_file import read_scenario

EVERYTHING = """
changes:
  - {at: 0.25, change: price, arm_id: large, factor: 0.1}
  - {at: 0.5, change: price, arm_id: large, mean_cost_usd: 0.002}
  - {at: 0.5, change: quality, arm_id: medium, level: 0.75}
  - {at: 1200, change: drain, arm_id: small}
  - {at: 1300, change: add, arm_id: huge, onboarding_usd: 0.5}
traffic: [[gsm8k], [mmlu, "bbh/*"]]
tenants:
  - {tenant_id: acme, share: 0.7, limit_usd: 2.5}
  - {tenant_id: beta, share: 0.3, budget_usd: 0.0004}
windows: 4
window: hour
money_by_window: [0.1, 0.2, 0.3, 0.4]
declare_demand: false
reward_delay: 300
bill_delay: 3
reward_rate: 0.1
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_may_use_every_field_and_names_itself_after_its_file(tmp_path: Path) -> None:
    assert read_scenario(write(tmp_path, EVERYTHING)) == Scenario(
        name="plan",
        changes=(
            PriceChange(0.25, "large", factor=0.1),
            PriceChange(0.5, "large", mean_cost_usd=0.002),
            QualityChange(0.5, "medium", level=0.75),
            ArmChange(1200, "small", "drain"),
            ArmChange(1300, "huge", "add", onboarding_usd=0.5),
        ),
        traffic=(("gsm8k",), ("mmlu", "bbh/*")),
        tenants=(TenantShare("acme", 0.7, limit_usd=2.5), TenantShare("beta", 0.3, budget_usd=0.0004)),
        windows=4,
        window=WindowKind.HOUR,
        money_by_window=(0.1, 0.2, 0.3, 0.4),
        declare_demand=False,
        reward_delay=300,
        bill_delay=3,
        reward_rate=0.1,
    )


def test_what_windows_leave_may_be_carried_over(tmp_path: Path) -> None:
    assert read_scenario(write(tmp_path, "carry_over: true")).carry_over


def test_the_example_in_the_documentation_is_a_scenario(tmp_path: Path) -> None:
    assert scenario_file.__doc__ is not None
    example = scenario_file.__doc__.split("\n\n", 1)[1]
    scenario = read_scenario(write(tmp_path, dedent(example)))
    assert scenario.name == "cut_and_shift"
    assert len(scenario.changes) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("reward_dealy: 3", "plan.yaml: reward_dealy: unknown key"),
        ("changes: [{at: 0.3, change: price, arm_id: x, factr: 1}]", "changes[0].factr: unknown key"),
        ("tenants: [{tenant_id: a, share: 1, limit: 3}]", "tenants[0].limit: unknown key"),
        ("changes: [{at: 0.3, change: prise, arm_id: x}]", "changes[0]: Input tag 'prise'"),
        ("changes: [{at: 0.3, change: price, arm_id: x}]", "changes[0]: must give one of factor and mean_cost_usd"),
        ("changes: [{at: 0.3, change: quality, arm_id: x, factor: 2}]", "changes[0]: factor and level must be in 0..1"),
        ("changes: [{at: 1.5, change: drain, arm_id: x}]", "changes[0].at: a share of the stretch is below 1"),
        ("changes: [{at: -1, change: drain, arm_id: x}]", "changes[0].at: must not be negative"),
        (
            "changes: [{at: 3, change: add, arm_id: x, onboarding_usd: -1}]",
            "changes[0].onboarding_usd: must not be negative",
        ),
        (
            "changes: [{at: 3, change: drain, arm_id: x, onboarding_usd: 1}]",
            "changes[0].onboarding_usd: is for an arm that joins",
        ),
        ("tenants: [{tenant_id: a, share: 0.4}]", "tenants: shares must sum to 1"),
        ("tenants: [{tenant_id: a, share: 1, limit_usd: 1, budget_usd: 1}]", "tenants[0]: gives budget_usd and"),
        ("tenants: []", "tenants: must name one or more"),
        ("windows: 0", "windows: must be at least 1"),
        ("money_by_window: [0.5, 0.5]", "money_by_window: must be one for each of the 1 windows"),
        ("{windows: 2, money_by_window: [1.0, 0.0]}", "money_by_window: must be positive"),
        ("{windows: 2, money_by_window: [0.5, 0.6]}", "money_by_window: must sum to 1"),
        ("{carry_over: true, money_by_window: [1.0]}", "money_by_window: must not be given with carry_over"),
        ("window: fixed", "window: must be hour, day, week or month"),
        ("window: year", "window: Input should be"),
        ("reward_rate: 1.5", "reward_rate: must be in 0..1"),
        ("traffic: [[]]", "traffic: every phase needs"),
        ("- 1", "must be a mapping of name, changes"),
        ("{", "cannot be read"),
    ],
)
def test_a_mistake_is_refused_with_its_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ScenarioError) as refusal:
        read_scenario(write(tmp_path, text))
    assert said in str(refusal.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="cannot be read"):
        read_scenario(tmp_path / "nothing.yaml")
