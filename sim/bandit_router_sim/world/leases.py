"""Whether learners take turns: one lease a pool, tokens that grow, and no snapshot from a superseded learner."""

from __future__ import annotations

from dataclasses import dataclass, field

from bandit_router_sim.world.failure import Violation


@dataclass(slots=True)
class _Lease:
    owner: str = ""
    token: int = 0
    until_ms: int = 0


@dataclass(slots=True)
class Leases:
    """Who may write each pool's state."""

    pools: dict[str, _Lease] = field(default_factory=dict)

    def acquired(self, pool_id: str, owner: str, ttl_ms: int, *, token: int | None, now_ms: int) -> None:
        """A learner has asked for the lease and was given `token`."""
        lease = self.pools.setdefault(pool_id, _Lease())
        is_anothers = lease.owner not in ("", owner) and now_ms < lease.until_ms
        if is_anothers != (token is None):
            raise Violation(f"lease of {pool_id}: {owner} was given {token} while {lease} stands")
        if token is None:
            return
        if token < lease.token or (owner != lease.owner and token == lease.token):
            raise Violation(f"lease of {pool_id}: token {token} for {owner} after {lease}")
        self.pools[pool_id] = _Lease(owner, token, now_ms + ttl_ms)

    def released(self, pool_id: str, owner: str) -> None:
        """A learner has given up the lease, if it was its own."""
        lease = self.pools.get(pool_id)
        if lease is not None and lease.owner == owner:
            self.pools[pool_id] = _Lease("", lease.token, 0)

    def saved(self, pool_id: str, token: int) -> None:
        """A snapshot was stored under `token`."""
        newest = self.pools[pool_id].token
        if token != newest:
            raise Violation(f"a learner of {pool_id} wrote with token {token}, superseded by {newest}")
