"""Bytes of what the stores keep: decisions and outcomes as JSON, contexts as little-endian float32.

Contexts are float32 from birth, so that a context read back from a store is bit for bit the one that was scored.
Fields that are added are left out or ignored by code that does not know them; see `core.schema` for what it takes then.
"""

from __future__ import annotations

import base64
import json
import struct
from functools import lru_cache
from typing import Any

from bandit_router.core.budget import Charge
from bandit_router.core.decision import Baseline, Decision, DefaultReward, Reason, Round
from bandit_router.core.explorations.registry import Exploration
from bandit_router.core.money import TokenPrices
from bandit_router.core.outcomes import Bill, Billing, Outcome, OutcomeKind, RewardSource
from bandit_router.core.quotes import Quotes

REMEMBERED_RECORDS = 1024
"""Records of each kind that stay decoded: bill, reward and learner mostly read the same bytes soon after another."""

_MADE_HERE: dict[bytes, Decision] = {}

_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_DECODER = json.JSONDecoder()


def pack_floats(values: tuple[float, ...]) -> bytes:
    """Little-endian float32."""
    return struct.pack(f"<{len(values)}f", *values)


def unpack_floats(data: bytes) -> tuple[float, ...]:
    """Inverse of `pack_floats`."""
    return struct.unpack(f"<{len(data) // 4}f", data)


def encode_decision(decision: Decision) -> bytes:
    """JSON of a decision; quotes and rounds are arrays in field order, the context is base64."""
    prices = decision.prices
    return _dump(
        {
            "id": decision.decision_id,
            "rid": decision.request_id,
            "tenant": decision.tenant_id,
            "pool": decision.pool_id,
            "chosen": decision.chosen,
            "quotes": list(decision.quotes.rows()),
            "rounds": [[r.arms, r.probabilities] for r in decision.rounds],
            "x": base64.b64encode(pack_floats(decision.context)).decode(),
            "in": decision.prompt_tokens,
            "cached": decision.cached_tokens,
            "max_out": decision.max_output_tokens,
            "prices": [
                prices.input_nusd_per_mtok,
                prices.output_nusd_per_mtok,
                prices.cached_input_nusd_per_mtok,
            ],
            "lambda": decision.price_per_usd,
            "snap": decision.snapshot_version,
            "proj": decision.projection_version,
            "policy": decision.policy_id,
            "explore": _exploration_row(decision.exploration),
            "why": decision.reason.value,
            "at": decision.decided_ms,
            "due": decision.deadline_ms,
            "win": decision.window_start_ms,
            "charges": [[charge.account_id, charge.window] for charge in decision.charges],
            "gen": decision.pool_generation,
            "seed": decision.seed,
            "shadow": decision.shadow,
            "seen": decision.learned_rewards,
            "bills": decision.learned_bills,
            **_baseline_row(decision.baseline),
            **_default_row(decision.default_reward),
            "isolated": decision.isolated,
        }
    )


def encode_and_remember(decision: Decision) -> bytes:
    """`encode_decision`; whoever decodes the bytes soon, in this process, gets this very decision."""
    data = encode_decision(decision)
    _MADE_HERE[data] = decision
    if len(_MADE_HERE) > REMEMBERED_RECORDS:
        _MADE_HERE.pop(next(iter(_MADE_HERE)), None)
    return data


def decode_decision(data: bytes) -> Decision:
    """Inverse of `encode_decision`. Decisions are immutable, so callers may get the same one."""
    made = _MADE_HERE.get(data)
    return read_decision(data) if made is None else made


@lru_cache(REMEMBERED_RECORDS)
def read_decision(data: bytes) -> Decision:
    """`decode_decision` by the bytes alone."""
    doc = _DECODER.decode(data.decode())
    return Decision(
        decision_id=doc["id"],
        request_id=doc["rid"],
        tenant_id=doc["tenant"],
        pool_id=doc["pool"],
        chosen=doc["chosen"],
        quotes=Quotes.of(doc["quotes"]),
        rounds=tuple(Round(tuple(arms), tuple(ps)) for arms, ps in doc["rounds"]),
        context=unpack_floats(base64.b64decode(doc["x"])),
        prompt_tokens=doc["in"],
        cached_tokens=doc["cached"],
        max_output_tokens=doc["max_out"],
        prices=TokenPrices(*doc["prices"]),
        price_per_usd=doc["lambda"],
        snapshot_version=doc["snap"],
        projection_version=doc["proj"],
        policy_id=doc["policy"],
        exploration=Exploration(*doc["explore"]),
        reason=Reason(doc["why"]),
        decided_ms=doc["at"],
        deadline_ms=doc["due"],
        window_start_ms=doc["win"],
        charges=tuple(Charge(*row) for row in doc.get("charges", [(doc["tenant"], str(doc["win"]))])),
        pool_generation=doc.get("gen", 0),
        seed=doc["seed"],
        shadow=doc["shadow"],
        learned_rewards=doc.get("seen", 0),
        learned_bills=doc.get("bills", 0),
        baseline=Baseline(*doc["base"]) if "base" in doc else None,
        isolated=doc.get("isolated"),
        default_reward=DefaultReward(*doc["default"]) if "default" in doc else None,
    )


def encode_outcome(outcome: Outcome) -> bytes:
    """JSON of an outcome."""
    return _dump(
        {
            "hold": outcome.hold_nusd,
            "expected": outcome.expected_cost_nusd,
            "charges": outcome.expiry_charges,
            "billing": outcome.billing.value,
            "bill": None if outcome.bill is None else _bill_row(outcome.bill),
            "cost": outcome.cost_nusd,
            "reward": outcome.reward,
            "kind": outcome.kind.value,
            "latency": outcome.latency_ms,
            "metrics": dict(outcome.metrics),
            "keys": sorted(outcome.idempotency_keys),
            "let_go": outcome.let_go_nusd,
            **({"said": outcome.reward_source.value} if outcome.reward_source.value else {}),
        }
    )


@lru_cache(REMEMBERED_RECORDS)
def decode_outcome(data: bytes) -> Outcome:
    """Inverse of `encode_outcome`. Outcomes are immutable, so callers may get the same one."""
    doc = _DECODER.decode(data.decode())
    return Outcome(
        hold_nusd=doc["hold"],
        expected_cost_nusd=doc["expected"],
        expiry_charges=doc["charges"],
        billing=Billing(doc["billing"]),
        bill=None if doc["bill"] is None else Bill(*doc["bill"]),
        cost_nusd=doc["cost"],
        reward=doc["reward"],
        kind=OutcomeKind(doc["kind"]),
        latency_ms=doc["latency"],
        metrics=tuple(sorted(doc["metrics"].items())),
        idempotency_keys=frozenset(doc["keys"]),
        let_go_nusd=doc.get("let_go", 0),
        reward_source=RewardSource(doc.get("said", "")),
    )


def _bill_row(bill: Bill) -> list[int | None]:
    return [bill.cost_nusd, bill.input_tokens, bill.output_tokens, bill.cached_input_tokens]


def _exploration_row(exploration: Exploration) -> list[Any]:
    """Name, scale, and the floor if there is one."""
    row = [exploration.name, exploration.scale]
    return [*row, exploration.floor] if exploration.floor else row


def _baseline_row(baseline: Baseline | None) -> dict[str, list[Any]]:
    """Its field, if a baseline has a share in the decision."""
    if baseline is None:
        return {}
    return {"base": [baseline.position, baseline.holdout_share, baseline.apprentice_share]}


def _default_row(default: DefaultReward | None) -> dict[str, list[Any]]:
    """Its field, if a reward is to be assumed."""
    return {} if default is None else {"default": [default.reward, default.due_ms]}


def _dump(doc: dict[str, Any]) -> bytes:
    return _ENCODER.encode(doc).encode()
