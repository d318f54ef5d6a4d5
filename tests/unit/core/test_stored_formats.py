"""The store as the first schema's code had written it is read by today's."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from bandit_router.core.codec import decode_decision, decode_outcome
from bandit_router.core.pool_codec import decode_pool_state, encode_pool_state
from bandit_router.core.pool_state import learn

FIXTURE = Path(__file__).parents[2] / "fixtures" / "store_schema_1.json"


def hashes() -> dict[str, dict[str, bytes]]:
    rows = json.loads(FIXTURE.read_text(encoding="utf-8"))
    found = {}
    for key, kind, value in rows:
        if kind == "hash":
            fields = {base64.b64decode(name).decode(): base64.b64decode(data) for name, data in value}
            found[base64.b64decode(key).decode()] = fields
    return found


def test_decisions_and_outcomes_of_schema_1_are_read() -> None:
    records = [fields for key, fields in hashes().items() if ":decision:" in key]
    assert len(records) == 6
    for fields in records:
        decision, outcome = decode_decision(fields["d"]), decode_outcome(fields["o"])
        assert decision.arm_id in ("small", "large")
        assert outcome.hold_nusd == decision.quote.hold_nusd


def test_a_pool_state_of_schema_1_is_read_and_written_again_to_the_byte() -> None:
    data = hashes()["{pool:pool}:snapshot"]["state"]
    state = decode_pool_state(data)
    assert (state.version, state.events, state.dimension) == (1, 3, 6)
    assert encode_pool_state(state) == data


def test_a_pool_state_of_schema_1_is_learned_into() -> None:
    state = decode_pool_state(hashes()["{pool:pool}:snapshot"]["state"])
    fields = next(fields for key, fields in hashes().items() if ":decision:" in key)
    decision, outcome = decode_decision(fields["d"]), decode_outcome(fields["o"])
    learn(state, decision, outcome, outcome)
    assert state.events == 4
