"""Partitions and decision ids.

All keys of a tenant live in one partition, so that every atomic function touches one Redis Cluster slot. Tenants under
an organisation are named under it, ORGANISATION/TENANT, and live where it does: a hold checks all their budgets in one
step. A decision id names its partition and the millisecond it was made in, so that any replica finds the record from
the id alone and can tell a decision that has expired long ago from one that never was:

    p07-01jd3k9v2mz-<26 characters of entropy>
"""

from __future__ import annotations

import base64
import re
import zlib

PARTITION_COUNT = 16
"""Fixed for the life of a store: changing it moves every tenant. 16 streams are cheap to poll and spread well."""

ENTROPY_BYTES = 16
_TIME_DIGITS = 12
_DECISION_ID = re.compile(r"p(\d{2})-([0-9a-f]{12})-([a-z2-7]{26})")


def partition_of(tenant_id: str) -> int:
    """Partition number in [0, PARTITION_COUNT) of a tenant: that of the part of its id before the first '/'."""
    return zlib.crc32(organisation_of(tenant_id).encode()) % PARTITION_COUNT


def organisation_of(tenant_id: str) -> str:
    """The only id that the tenant's parent can have; the tenant's own if it is named under nobody."""
    return tenant_id.partition("/")[0]


def partition_tag(partition: int) -> str:
    """The name that is used as Redis hash tag, e.g. 'p07'."""
    return f"p{partition:02d}"


def make_decision_id(tenant_id: str, *, now_ms: int, entropy: bytes) -> str:
    """A new decision id. `entropy` must be ENTROPY_BYTES random bytes."""
    assert len(entropy) == ENTROPY_BYTES
    suffix = base64.b32encode(entropy).decode().rstrip("=").lower()
    return f"{partition_tag(partition_of(tenant_id))}-{now_ms:0{_TIME_DIGITS}x}-{suffix}"


def decision_time_ms(decision_id: str, tenant_id: str) -> int | None:
    """When the decision was made, or None if this can be no decision of this tenant."""
    match = _DECISION_ID.fullmatch(decision_id)
    if match is None or int(match[1]) != partition_of(tenant_id):
        return None
    return int(match[2], 16)
