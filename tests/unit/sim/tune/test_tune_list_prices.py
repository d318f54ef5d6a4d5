"""List prices from quotes."""

from __future__ import annotations

import json
import math
from pathlib import Path

from bandit_router.core.money import TokenPrices, parse_price
from bandit_router_sim.replay.setting import ArmPricing
from bandit_router_sim.tune.list_prices import read_list_prices
from tests.builders import generator

LONGEST = 4096


def write_events(path: Path, prices: list[tuple[str, str]]) -> Path:
    """A file of events whose arm `a` is quoted at each of the prices in turn."""
    random = generator(1)
    lines = []
    for input_price, output_price in prices:
        arm = TokenPrices(parse_price(input_price), parse_price(output_price), parse_price(input_price))
        prompt_tokens, output_tokens = int(random.integers(3, 900)), float(random.uniform(5.0, 900.0))
        cost = arm.cost_nusd(input_tokens=prompt_tokens, output_tokens=math.ceil(output_tokens))
        hold = arm.dearest_nusd(input_tokens=4 * prompt_tokens + 16, output_tokens=LONGEST)
        quote = {"arm_id": "a", "expected_output_tokens": output_tokens, "expected_cost_nusd": str(cost)}
        lines.append(json.dumps({"prompt_tokens": prompt_tokens, "arms": [{**quote, "hold_nusd": str(hold)}]}))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_prices_and_the_longest_answer_follow_from_the_quotes(tmp_path: Path) -> None:
    for prices in (("1.25", "10"), ("0.1", "0.1"), ("0", "0.36948")):
        file = write_events(tmp_path / "events.jsonl", [prices] * 200)
        found = read_list_prices(file)["a"]
        assert (float(found.input_usd_per_mtok), float(found.output_usd_per_mtok)) == tuple(map(float, prices))
        assert found.max_output_tokens == LONGEST


def test_prices_that_changed_are_not_guessed(tmp_path: Path) -> None:
    file = write_events(tmp_path / "events.jsonl", [("1", "10")] * 100 + [("2", "10")] * 100)
    assert read_list_prices(file) == {}


def test_only_the_latest_quotes_count(tmp_path: Path) -> None:
    file = write_events(tmp_path / "events.jsonl", [("1", "10")] * 100 + [("2", "20")] * 500)
    assert read_list_prices(file)["a"] == ArmPricing("2.000000", "20.000000", LONGEST)
