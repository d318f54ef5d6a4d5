from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.projection import Projection
from bandit_router.core.resources import (
    Arm,
    ExpiryPolicy,
    HoldPolicy,
    OutagePolicy,
    Pool,
    Tenant,
    WindowKind,
    WindowRule,
)
from bandit_router.service.documents import (
    arm_key,
    decode_arm,
    decode_pool,
    decode_projection,
    decode_tenant,
    encode_projection,
    encode_resource,
    split_arm_key,
)
from tests.builders import PROPERTY, SMALL, make_pool, make_tenant, prices

names = st.text(max_size=8)
shares = st.floats(0, 1)
pools = st.builds(
    Pool, names, names, st.integers(), names, names, st.integers(), st.lists(names).map(tuple), shares, shares, names,
    st.none() | shares, shares, st.booleans(),
)  # fmt: skip
arms = st.builds(Arm, names, prices, st.integers(), st.booleans(), st.booleans(), names, names)
windows = st.builds(WindowRule, st.sampled_from(WindowKind), names, st.integers(), st.booleans())
tenants = st.builds(
    Tenant, names, names, st.integers(), names, windows, st.integers(), st.sampled_from(HoldPolicy), shares,
    st.sampled_from(ExpiryPolicy), st.sampled_from(OutagePolicy), st.integers(), names, st.booleans(), st.booleans(),
)  # fmt: skip


@PROPERTY
@given(pools, arms, tenants)
def test_resources_are_read_back_as_they_were_written(pool: Pool, arm: Arm, tenant: Tenant) -> None:
    assert decode_pool(encode_resource(pool)) == pool
    assert decode_arm(encode_resource(arm)) == arm
    assert decode_tenant(encode_resource(tenant)) == tenant


READERS = [
    (decode_pool, make_pool()),
    (decode_arm, SMALL),
    (decode_tenant, make_tenant(window=WindowRule(WindowKind.DAY))),
]


@pytest.mark.parametrize(("decode", "resource"), READERS)
def test_keys_of_newer_code_are_ignored_at_every_depth(decode: object, resource: Pool | Arm | Tenant) -> None:
    doc = json.loads(encode_resource(resource))
    for part in (doc, *(value for value in doc.values() if isinstance(value, dict))):
        part["invented_later"] = 1
    assert decode(json.dumps(doc).encode()) == resource  # type: ignore[operator]


@pytest.mark.parametrize(("decode", "resource"), READERS)
def test_keys_that_older_code_did_not_write_take_their_defaults(decode: object, resource: Pool | Arm | Tenant) -> None:
    required = ("pool_id", "arm_id", "prices", "tenant_id", "limit_nusd")
    doc = json.loads(encode_resource(resource))
    bare = decode(json.dumps({k: v for k, v in doc.items() if k in required}).encode())  # type: ignore[operator]
    defaults = type(resource)(**{n: getattr(resource, n) for n in required if n in {f.name for f in fields(resource)}})
    assert bare == defaults


def test_a_window_rule_written_in_part_takes_the_other_defaults() -> None:
    doc = json.loads(encode_resource(make_tenant()))
    doc["window"] = {"kind": "day"}
    assert decode_tenant(json.dumps(doc).encode()).window == WindowRule(WindowKind.DAY)


def test_a_projection_is_read_back_bit_for_bit() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(3, 2) / 7
    projection = Projection(matrix=matrix, mean=np.array([0.1, 0.2, 0.3], dtype=np.float32), version=4)
    found = decode_projection(encode_projection(projection))
    assert (found.matrix == projection.matrix).all()
    assert (found.mean == projection.mean).all()
    assert found.version == 4


def test_an_arms_key_names_its_pool_first() -> None:
    assert split_arm_key(arm_key("pool", "small")) == ("pool", "small")
    assert split_arm_key("pool") == ("pool", "")
