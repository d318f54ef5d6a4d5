"""The books of a store, drawn up from its decision records, to compare with what its windows say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import redis

from bandit_router.adapters.redis import keys
from bandit_router.core.codec import decode_decision, decode_outcome
from bandit_router.core.outcomes import Billing


@dataclass(frozen=True)
class Window:
    """A window's counters; or the same, added up from records."""

    held_nusd: int = 0
    spent_nusd: int = 0
    decisions: int = 0


def recorded(nodes: Iterable[redis.Redis], tenant_id: str) -> dict[str, int]:
    """Settled cost of every decision of the tenant that is on record; minus one for a hold that stands."""
    found = {}
    for node in nodes:
        for key in node.scan_iter(keys.decision(tenant_id, "*"), count=1000):
            outcome = decode_outcome(node.hget(key, "o"))
            decision = decode_decision(node.hget(key, "d"))
            found[decision.decision_id] = -1 if outcome.billing is Billing.HELD else outcome.cost_nusd
    return found


def from_records(nodes: Iterable[redis.Redis], tenant_id: str) -> Window:
    """Held, spent and the number of decisions, added up from the records."""
    totals: Counter[str] = Counter()
    for node in nodes:
        for key in node.scan_iter(keys.decision(tenant_id, "*"), count=1000):
            outcome = decode_outcome(node.hget(key, "o"))
            stands = outcome.billing is Billing.HELD
            totals["held"] += outcome.hold_nusd if stands else 0
            totals["spent"] += outcome.cost_nusd
            totals["decisions"] += 1
    return Window(totals["held"], totals["spent"], totals["decisions"])


def from_window(nodes: Iterable[redis.Redis], tenant_id: str) -> Window:
    """What the tenant's only window says."""
    for node in nodes:
        for key in node.scan_iter(keys.window(tenant_id, "*:*"), count=1000):
            held, spent, decisions = node.hmget(key, "held", "spent", "n")
            return Window(int(held), int(spent), int(decisions))
    return Window()
