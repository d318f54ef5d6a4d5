"""The outcome of a search as a configuration that a server takes (`bandit-router serve --config`)."""

from __future__ import annotations

import yaml

from bandit_router_sim.tune.policy_search import Found


def as_config(found: Found, *, pool_id: str, encoder_id: str) -> str:
    """YAML with one pool, headed by what was measured. Arms and tenants are left to whoever knows them."""
    choice, overall = found.recommended, found.overall
    pool = {
        "pool_id": pool_id,
        "encoder_id": encoder_id,
        "dimension": choice.dimension,
        "learner": choice.learner,
        "exploration": choice.exploration,
    }
    head = [
        f"Settings for {pool_id}, searched on {found.tuning_rows} rows of {found.log} ({found.split}).",
        f"On {found.reporting_rows} other rows: tuned less default {overall.mean:+.4f} of quality,",
        f"95 % interval {overall.low:+.4f} to {overall.high:+.4f}: {overall.verdict}.",
    ]
    if overall.verdict != "better":
        head.append(f"These are therefore the defaults; the search proposed {found.tuned.learner},")
        head.append(f"{found.tuned.exploration}, dimension {found.tuned.dimension}.")
    head.append("Declare the pool's arms and tenants here, or with the commands.")
    lines = "".join(f"# {line}\n" for line in head)
    return lines + yaml.safe_dump({"pools": [pool]}, sort_keys=False)
