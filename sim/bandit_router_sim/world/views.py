"""What a replica may have known of the catalog when it decided: nothing older than what it had last taken over."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bandit_router.core.budget import Charge
from bandit_router.core.decision import Decision, DefaultReward, Reason
from bandit_router.core.errors import NoFeasibleArm, ResourceNotFound
from bandit_router.core.outcomes import Outcome
from bandit_router.core.resources import Arm, ExpiryPolicy, HoldPolicy, Pool, Tenant
from bandit_router.core.windows import window_at
from bandit_router.ports.catalog import Document, Kind
from bandit_router.service.documents import arm_key, read_arm, read_pool, read_tenant
from bandit_router.service.messages import RouteRequest
from bandit_router_sim.world.acts import Act
from bandit_router_sim.world.failure import Violation

Resource = Pool | Arm | Tenant
_READERS: Mapping[Kind, Callable[[Document], Resource]] = {
    Kind.POOL: read_pool,
    Kind.ARM: read_arm,
    Kind.TENANT: read_tenant,
}


@dataclass(slots=True)
class Views:
    """Every version of every document."""

    version: int = 0
    history: dict[tuple[Kind, str], list[tuple[int, Resource | None]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def changed(self, kind: Kind, key: str, version: int, body: bytes | None) -> None:
        """A document was put (or deleted: `body` is None)."""
        self.version = version
        found = None if body is None else _READERS[kind](Document(kind, key, version, body))
        self.history[kind, key].append((version, found))

    def seen(self, kind: Kind, key: str, oldest: int) -> list[Resource | None]:
        """All that the document has been, for one who looked at version `oldest` or later."""
        before: Resource | None = None
        later: list[Resource | None] = []
        for version, resource in self.history.get((kind, key), []):
            if version <= oldest:
                before = resource
            else:
                later.append(resource)
        return [before, *later]

    def tenants(self, tenant_id: str, oldest: int) -> list[Tenant]:
        """All that the tenant has been since."""
        return [found for found in self.seen(Kind.TENANT, tenant_id, oldest) if isinstance(found, Tenant)]

    def arms(self, tenant: Tenant, oldest: int) -> dict[str, list[Arm | None]]:
        """All that each arm of the tenant's pool has been, for one who knows the tenant and looked since `oldest`.

        Whoever knows a tenant knows the catalog as it was when the tenant was made, or later.
        """
        oldest = max(oldest, self.history[Kind.TENANT, tenant.tenant_id][0][0])
        prefix = arm_key(tenant.pool_id, "")
        return {
            key.removeprefix(prefix): [s for s in self.seen(kind, key, oldest) if s is None or isinstance(s, Arm)]
            for kind, key in tuple(self.history)
            if kind is Kind.ARM and key.startswith(prefix)
        }

    def check_decision(self, decision: Decision, outcome: Outcome, request: RouteRequest, oldest: int) -> None:
        """The decision was made for a tenant and over arms as they have been since `oldest`."""
        tenants = self.tenants(decision.tenant_id, oldest)
        pairs = [(t, p) for t in tenants for p in self._parents(t, oldest)]
        session_id = request.session.session_id
        if not any(_suits(t, decision, outcome) and _is_paid_by(decision, t, p, session_id) for t, p in pairs):
            raise Violation(f"{decision.decision_id} does not follow any state of its tenant since version {oldest}")
        self._check_default(decision)
        arms = self.arms(tenants[0], oldest)
        quoted = {quote.arm_id: quote.excluded_because for quote in decision.quotes}
        self._check_exclusions(arms, quoted, request, f"{decision.decision_id} since version {oldest}")
        chosen = [arm for arm in arms[decision.arm_id] if arm is not None]
        if not any(arm.prices == decision.prices and arm.enabled and not arm.draining for arm in chosen):
            raise Violation(f"{decision.decision_id}: arm {decision.arm_id} was not so since version {oldest}")

    def _check_default(self, decision: Decision) -> None:
        """Its terms are the pool's, which never change here."""
        pool = self.history[Kind.POOL, decision.pool_id][0][1]
        assert isinstance(pool, Pool)
        due_ms = decision.decided_ms + int(pool.default_reward_deadline_s * 1000)
        expected = None if pool.default_reward is None else DefaultReward(pool.default_reward, due_ms)
        if decision.default_reward != expected:
            raise Violation(f"{decision.decision_id} is to assume {decision.default_reward}, its pool {expected}")

    def _parents(self, tenant: Tenant, oldest: int) -> list[Tenant | None]:
        """All that the tenant's parent has been since; it was there before its tenant."""
        if not tenant.parent_tenant_id:
            return [None]
        made = self.history[Kind.TENANT, tenant.tenant_id][0][0]
        return [*self.tenants(tenant.parent_tenant_id, max(oldest, made))]

    def check_refusal(self, refusal: NoFeasibleArm, request: RouteRequest, oldest: int) -> None:
        """Every arm that the pool has had all along was excluded, and for a reason that was true."""
        arms = self.arms(self.tenants(request.tenant_id, oldest)[0], oldest)
        self._check_exclusions(arms, refusal.excluded, request, f"refusal {refusal.excluded} since version {oldest}")

    def check_missing(self, error: ResourceNotFound, act: Act, tenant_id: str, *, began: int) -> None:
        """What is said to be missing was missing: a tenant or pool now, an arm in what the replica may have seen."""
        oldest = act.oldest_view
        if error.kind == "tenant" and act.missed_account:
            return
        if error.kind == "arm":
            tenant = self.tenants(tenant_id, oldest)[0]  # its pool never changes
            states = self.arms(tenant, oldest).get(error.resource_id, [None])
        else:
            states = [None] if None in self.seen(Kind(error.kind), error.resource_id, began) else []
        if None not in states:
            raise Violation(f"{error} (it does)")

    def _check_exclusions(
        self, arms: dict[str, list[Arm | None]], told: dict[str, str], request: RouteRequest, where: str
    ) -> None:
        for arm_id, states in arms.items():
            if arm_id not in told and None not in states:
                raise Violation(f"{where}: arm {arm_id} was overlooked")
            if arm_id in told and not any(_may_say(told[arm_id], arm, request) for arm in states):
                raise Violation(f"{where}: arm {arm_id} is {told[arm_id] or 'feasible'!r}, which it was not")
        if unknown := told.keys() - arms.keys():
            raise Violation(f"{where}: no such arms {sorted(unknown)}")


def _may_say(rule: str, arm: Arm | None, request: RouteRequest) -> bool:
    """Whether `rule` is what excludes this arm ('' for a feasible one), so far as the catalog and request tell."""
    if arm is None:
        return False
    is_barred = bool(request.allowed_arm_ids) and arm.arm_id not in request.allowed_arm_ids
    switched = "disabled" if not arm.enabled else "draining" if arm.draining else "not_allowed" if is_barred else ""
    if switched or rule in ("disabled", "draining", "not_allowed"):
        return rule == switched
    limits = {"max_cost_nusd": request.max_cost_nusd, "min_expected_reward": request.min_expected_reward}
    return rule == "" or limits[rule] is not None


def _is_paid_by(decision: Decision, tenant: Tenant, parent: Tenant | None, session_id: str) -> bool:
    """The decision is charged to the present windows of these, and refused by none only if all are trials."""
    payers = [tenant] if parent is None else [tenant, parent]
    expected = [Charge(t.tenant_id, window_at(t.window, decision.decided_ms).name) for t in payers]
    if session_id and tenant.session_cap_nusd:
        expected.append(Charge(tenant.tenant_id, f"session:{session_id}"))
    is_shadow = decision.reason is Reason.FALLBACK or all(t.shadow for t in payers)
    return list(decision.charges) == expected and decision.shadow == is_shadow


def _suits(tenant: Tenant, decision: Decision, outcome: Outcome) -> bool:
    return (
        tenant.pool_id == decision.pool_id
        and decision.deadline_ms == decision.decided_ms + int(tenant.hold_ttl_s * 1000)
        and outcome.expiry_charges == (tenant.expiry_policy is ExpiryPolicy.CHARGE)
        and _holds_enough(tenant, decision)
    )


def _holds_enough(tenant: Tenant, decision: Decision) -> bool:
    """A worst-case hold covers the longest answer to the whole prompt; an expected one is the expected cost."""
    quote, prices = decision.quote, decision.prices
    if tenant.hold_policy is HoldPolicy.EXPECTED:
        return quote.hold_nusd == quote.expected_cost_nusd
    if tenant.hold_policy is HoldPolicy.QUANTILE:
        return quote.hold_nusd >= 0
    dearest = max(prices.input_nusd_per_mtok, prices.cached_input_nusd_per_mtok)
    worst = decision.prompt_tokens * dearest + decision.max_output_tokens * prices.output_nusd_per_mtok
    return quote.hold_nusd * 1_000_000 >= worst
