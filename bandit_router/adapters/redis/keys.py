"""The only place that spells keys. Everything of a tenant is in its partition's hash slot: `{p07}:...`.

Ids of tenants, pools and arms may contain ':' but no space; ids of requests, sessions and edits may contain anything,
so they stand last, behind a space: behind a ':' one tenant's request could be taken for that of another.

    {p07}:account:TENANT           hash    limit, epoch, generation, resets and openings (how many),
                                           latest (record of the present window: the name it was opened under),
                                           latest_label latest_kind latest_ordinal latest_end (what it is called now)
                                           latest_ms (since when)
    {p07}:epoch                    string  counter: which opening of an account a window or decision belongs to
    {p07}:window:TENANT WINDOW     hash    limit spent held over inflight n, price price_n price_snap, end ord,
                                           epoch, opening, alerted (per cent), reset (number of the last one),
                                           label (its name now), book (epoch and name of the record its money is in)
    {p07}:windows:TENANT           zset    name of each window kept, by start
    {p07}:decision:TENANT:ID       hash    d (decision) o (outcome) free rev deadline keep, and per account charged:
                                           g1 (epoch, opening, record) b1 (resets at the last booking) w1 (written off)
    {p07}:request:TENANT REQUEST   string  decision id
    {p07}:edit:TENANT EDIT         string  'GENERATION KIND AMOUNT' of the edit that has this id
    {p07}:due                      zset    'TENANT DECISION' of each hold that stands, by deadline
    {p07}:defaults                 zset    'TENANT DECISION' of each answer without reward, by when one is to be assumed
    {p07}:recent:TENANT            list    packed contexts, newest first
    {p07}:audit:TENANT             stream  budget edits
    {p07}:events:POOL              stream  joined events
    {p07}:trimmed:POOL             string  id of the newest joined event that was dropped
    {pool:POOL}:lease              string  owner, with the lease's time to live
    {pool:POOL}:fence              string  counter: the fencing token
    {pool:POOL}:snapshot           hash    version, mark (of the writer), state
    {pool:POOL}:dead               stream  events that could not be learned
    {pool:POOL}:redrive            string  id of the newest dead letter that is to be tried again
    {catalog}:schema               string  schema version of the whole store
    {catalog}:raising              string  there for a second after the schema version was raised
    {catalog}:importing            string  there while an import is under way, and after one that was cut short
    {catalog}:version              string  counter shared by all documents
    {catalog}:KIND                 hash    key -> 'VERSION BODY'
    {catalog}:KIND:index           zset    keys, all with score 0
    {catalog}:changes              zset    'KIND KEY' by the version that touched it last
    {catalog}:stamps               hash    version -> when it was made: of the latest ones

A window's `price` is a number, followed by what the tenant's budget policy remembers.
"""

from __future__ import annotations

from functools import lru_cache

from bandit_router.core.partition import PARTITION_COUNT, partition_of, partition_tag

CATALOG_SCHEMA = "{catalog}:schema"
CATALOG_RAISING = "{catalog}:raising"
CATALOG_IMPORTING = "{catalog}:importing"
CATALOG_VERSION = "{catalog}:version"
CATALOG_CHANGES = "{catalog}:changes"
CATALOG_STAMPS = "{catalog}:stamps"

_TAGS = tuple(f"{{{partition_tag(partition)}}}" for partition in range(PARTITION_COUNT))

LEASES = frozenset({"lease", "fence", "importing", "raising"})
"""Kinds of keys that say who does something, and nothing of what was done."""

FURNITURE = LEASES | {"schema"}
"""Kinds of keys that an empty store may have."""

NEVER_CLEARED = frozenset({"fence", "importing"})

MONEY = frozenset({"account", "window", "windows", "due"})


def account(tenant_id: str) -> str:
    """A tenant's account."""
    return f"{_tag(tenant_id)}:account:{tenant_id}"


def epoch(tenant_id: str) -> str:
    """Counter of the accounts opened in the tenant's partition."""
    return f"{_tag(tenant_id)}:epoch"


def window(tenant_id: str, name: str) -> str:
    """A window's counters. The first schema had no kinds of windows: a name without one is the start alone."""
    separator = " " if ":" in name else ":"
    return f"{_tag(tenant_id)}:window:{tenant_id}{separator}{name}"


def old_window(tenant_id: str, name: str) -> str:
    """The same window as the first schema named it; a session's is its own name, since there were none."""
    return window(tenant_id, name if name.startswith("session:") else name.rpartition(":")[2])


def windows(tenant_id: str) -> str:
    """Index of a tenant's windows."""
    return f"{_tag(tenant_id)}:windows:{tenant_id}"


def decision(tenant_id: str, decision_id: str) -> str:
    """A decision record."""
    return f"{_tag(tenant_id)}:decision:{tenant_id}:{decision_id}"


def request(tenant_id: str, request_id: str) -> str:
    """Decision id of a request id."""
    return f"{_tag(tenant_id)}:request:{tenant_id} {request_id}"


def edit(tenant_id: str, edit_id: str) -> str:
    """What the edit of this id was."""
    return f"{_tag(tenant_id)}:edit:{tenant_id} {edit_id}"


def due(partition: int) -> str:
    """Holds that stand, by deadline."""
    return f"{_TAGS[partition]}:due"


def defaults(partition: int) -> str:
    """Answers without a reward that will be assumed, by when it is."""
    return f"{_TAGS[partition]}:defaults"


def recent(tenant_id: str) -> str:
    """Contexts of a tenant's latest decisions."""
    return f"{_tag(tenant_id)}:recent:{tenant_id}"


def audit(tenant_id: str) -> str:
    """A tenant's budget edits."""
    return f"{_tag(tenant_id)}:audit:{tenant_id}"


def events(pool_id: str, partition: int) -> str:
    """A pool's events of one partition."""
    return f"{_TAGS[partition]}:events:{pool_id}"


def trimmed(pool_id: str, partition: int) -> str:
    """The newest event of one partition that was dropped."""
    return f"{_TAGS[partition]}:trimmed:{pool_id}"


def lease(pool_id: str) -> str:
    """Who learns for the pool."""
    return f"{{pool:{pool_id}}}:lease"


def fence(pool_id: str) -> str:
    """Counter behind the lease's fencing tokens."""
    return f"{{pool:{pool_id}}}:fence"


def snapshot(pool_id: str) -> str:
    """A pool's learned state."""
    return f"{{pool:{pool_id}}}:snapshot"


def dead(pool_id: str) -> str:
    """A pool's dead letters."""
    return f"{{pool:{pool_id}}}:dead"


def redrive(pool_id: str) -> str:
    """Up to which dead letter a pool is to try again."""
    return f"{{pool:{pool_id}}}:redrive"


def documents(kind: str) -> str:
    """Documents of a kind."""
    return f"{{catalog}}:{kind}"


def document_index(kind: str) -> str:
    """Keys of a kind's documents, in order."""
    return f"{{catalog}}:{kind}:index"


def slot_of(name: str) -> str:
    """The tag, with its braces, that decides where the key lies."""
    return name[: name.index("}") + 1]


def is_partition(slot: str) -> bool:
    """Whether tenants' keys lie in this slot."""
    return slot in _TAGS


def kind_of(name: str) -> str:
    """What the key is, as in the table above: 'account', 'window', … and for documents their kind."""
    rest = name[name.index("}") + 2 :]
    if name.startswith("{catalog}") or not name.startswith(_TAGS):
        return rest
    return rest.partition(":")[0]


def decision_of_due(member: str) -> str:
    """Key of the decision that a member of `due` names."""
    tenant_id, _, decision_id = member.partition(" ")
    return decision(tenant_id, decision_id)


@lru_cache(maxsize=4096)
def _tag(tenant_id: str) -> str:
    return _TAGS[partition_of(tenant_id)]
