from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit_router.core.partition import (
    ENTROPY_BYTES,
    PARTITION_COUNT,
    decision_time_ms,
    make_decision_id,
    partition_of,
    partition_tag,
)
from tests.builders import PROPERTY

entropies = st.binary(min_size=ENTROPY_BYTES, max_size=ENTROPY_BYTES)
instants = st.integers(0, 2**47)


@PROPERTY
@given(st.text(), instants, entropies)
def test_a_decision_id_tells_when_it_was_made(tenant_id: str, now_ms: int, entropy: bytes) -> None:
    decision_id = make_decision_id(tenant_id, now_ms=now_ms, entropy=entropy)
    assert decision_time_ms(decision_id, tenant_id) == now_ms
    assert decision_id.startswith(partition_tag(partition_of(tenant_id)))


@PROPERTY
@given(st.text(), st.text(), entropies)
def test_the_id_of_another_partition_is_none_of_the_tenants(one: str, other: str, entropy: bytes) -> None:
    decision_id = make_decision_id(one, now_ms=5, entropy=entropy)
    expected = 5 if partition_of(one) == partition_of(other) else None
    assert decision_time_ms(decision_id, other) == expected


@PROPERTY
@given(st.text(), entropies, entropies)
def test_other_entropy_makes_another_id(tenant_id: str, one: bytes, other: bytes) -> None:
    ids = {make_decision_id(tenant_id, now_ms=5, entropy=entropy) for entropy in (one, other)}
    assert len(ids) == len({one, other})


@PROPERTY
@given(st.text())
def test_any_text_that_is_no_id_is_recognised(text: str) -> None:
    assert decision_time_ms(text, "acme") is None


def test_tenants_spread_over_all_partitions() -> None:
    assert {partition_of(f"tenant-{i}") for i in range(500)} == set(range(PARTITION_COUNT))


def test_partitions_are_pinned_since_stores_depend_on_them() -> None:
    assert [partition_of(t) for t in ("acme", "default", "ü")] == [14, 15, 5]


@pytest.mark.parametrize("size", [0, ENTROPY_BYTES - 1, ENTROPY_BYTES + 1])
def test_an_id_needs_its_full_entropy(size: int) -> None:
    with pytest.raises(AssertionError):
        make_decision_id("acme", now_ms=0, entropy=bytes(size))
