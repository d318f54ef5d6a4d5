"""Scenarios as YAML files: the fields of `replay.scenario` under their own names, nothing else.

name: cut_and_shift
changes:
  - {at: 0.33, change: price, arm_id: large, factor: 0.1}      # or mean_cost_usd
  - {at: 0.5, change: quality, arm_id: medium, level: 0.75}    # or factor
  - {at: 1200, change: drain, arm_id: small}                   # remove, drain, undrain
  - {at: 1300, change: add, arm_id: huge, onboarding_usd: 0.5}
traffic: [[gsm8k], [mmlu, "bbh/*"]]
tenants:
  - {tenant_id: acme, share: 0.7, limit_usd: 2.5}
  - {tenant_id: beta, share: 0.3, budget_usd: 0.0004}
windows: 4
window: day
money_by_window: [0.1, 0.2, 0.3, 0.4]
reward_delay: 300
default_reward: 0.0
default_reward_after: 1000
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from bandit_router_sim.replay.scenario import Scenario, ScenarioError


def read_scenario(path: Path) -> Scenario:
    """The scenario in the file, named after the file unless it names itself. Raises ScenarioError naming the key."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise ScenarioError(f"{path}: cannot be read: {fault}") from None
    if not isinstance(document, dict):
        raise ScenarioError(f"{path}: must be a mapping of {', '.join(field.name for field in fields(Scenario))}")
    try:
        return TypeAdapter(Scenario).validate_python({"name": path.stem, **document})
    except ScenarioError as refusal:
        raise ScenarioError(f"{path}: {refusal}") from None
    except ValidationError as refusal:
        raise ScenarioError("\n".join(f"{path}: {_explain(error)}" for error in refusal.errors())) from None


def _explain(error: Any) -> str:
    """'changes[0].factr: unknown key'."""
    place = ""
    for part in error["loc"]:
        if isinstance(part, int):
            place += f"[{part}]"
        elif not str(part)[0].isupper() and part not in _TAGS:
            place += f".{part}" if place else str(part)
    is_unknown = error["type"] == "unexpected_keyword_argument"
    message = "unknown key" if is_unknown else error["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


_TAGS = {"price", "quality", "add", "remove", "drain", "undrain", "add,remove,drain,undrain"}
