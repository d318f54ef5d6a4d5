"""A decision in the making: everything that is known before the hold, and the record that a draw turns it into."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bandit_router.core.budget_policies.protocol import PriceMark
from bandit_router.core.budget_policies.registry import parse_budget_policy
from bandit_router.core.choice import Query, candidates, draw_reason, quote_arms, weigh_round
from bandit_router.core.decision import Decision, DefaultReward, Reason, Round
from bandit_router.core.draw import uniform
from bandit_router.core.quotes import Quotes
from bandit_router.core.resources import HoldPolicy, Pool, Tenant
from bandit_router.ports.ledger import Level
from bandit_router.service.models import ServedPool
from bandit_router.service.reservoirs import Sample


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One request, encoded, quoted and priced, for the present windows of the accounts that pay."""

    decision_id: str
    request_id: str
    tenant: Tenant
    levels: tuple[Level, ...]
    served: ServedPool
    query: Query
    projection_version: int
    sample: Sample
    mark: PriceMark
    quotes: Quotes
    decided_ms: int

    def first_draw(self, feasible: tuple[int, ...]) -> Decision:
        """The decision drawn over all arms that the request allows."""
        return self._drawn(feasible, rounds=())

    def redraw(self, decision: Decision, *, free_nusd: int) -> Decision | None:
        """The decision drawn again over the arms whose hold fits in `free_nusd`; None if none does."""
        fitting = candidates(self.quotes, free_nusd=free_nusd)
        return self._drawn(fitting, rounds=decision.rounds) if fitting else None

    def fallback(self) -> Decision | None:
        """The tenant's zero-cost arm, chosen with certainty; None if it has none that may serve."""
        for position in candidates(self.quotes):
            quote = self.quotes[position]
            if quote.arm_id == self.tenant.fallback_arm_id and quote.hold_nusd == 0:
                return self._decision(position, rounds=(Round((position,), (1.0,)),), reason=Reason.FALLBACK)
        return None

    def in_outage(self, *, attempt: Decision | None, free_nusd: int, new_id: str) -> Decision | None:
        """The decision made without the store, whose worst case fits in `free_nusd`; None if there is none.

        `attempt` is what the store was asked to record before it went away, if it was: it stands in under its own id if
        it fits. A different decision gets `new_id`, since that one may have been recorded, and is a further draw.
        """
        charge = parse_budget_policy(self.tenant.budget_policy).charge(self.mark)
        quotes = quote_arms(self.served.table, self.query, charge=charge, hold_policy=HoldPolicy.WORST_CASE)
        plan, fitting = replace(self, quotes=quotes), candidates(quotes, free_nusd=free_nusd)
        rounds = () if attempt is None else attempt.rounds
        if attempt is not None and attempt.chosen in fitting:
            if not set(rounds[-1].arms) <= set(fitting):  # it might have been drawn after another one that does not fit
                rounds = (*rounds, plan._mixed(plan._policy(fitting)))  # noqa: SLF001 (a plan like this one)
            return replace(attempt, quotes=quotes, rounds=rounds, reason=Reason.OUTAGE, shadow=True)
        plan = replace(plan, decision_id=new_id)
        decision = plan._drawn(fitting, rounds=rounds) if fitting else plan.fallback()  # noqa: SLF001
        return None if decision is None else replace(decision, reason=Reason.OUTAGE, shadow=True)

    def _drawn(self, arms: tuple[int, ...], *, rounds: tuple[Round, ...]) -> Decision:
        seed, key = self.served.pool.seed, self.request_id or self.decision_id
        policy = self._policy(arms)
        position, reason = draw_reason(policy, uniform(seed, key, len(rounds)), self.served.baseline)
        return self._decision(position, rounds=(*rounds, self._mixed(policy)), reason=reason)

    def _policy(self, arms: tuple[int, ...]) -> Round:
        """What the policy alone draws from these arms with."""
        key = self.request_id or self.decision_id
        return weigh_round(self.quotes, arms, self.served.exploration, seed=self.served.pool.seed, key=key)

    def _mixed(self, policy: Round) -> Round:
        """The draw with the shares of the pool's baseline arm in it."""
        baseline = self.served.baseline
        return policy if baseline is None else baseline.mixed(policy)

    def _decision(self, position: int, *, rounds: tuple[Round, ...], reason: Reason) -> Decision:
        arm, served, tenant = self.served.arms[position], self.served, self.tenant
        return Decision(
            decision_id=self.decision_id,
            request_id=self.request_id,
            tenant_id=tenant.tenant_id,
            pool_id=tenant.pool_id,
            chosen=position,
            quotes=self.quotes,
            rounds=rounds,
            context=tuple(self.sample.context.tolist()),
            prompt_tokens=self.query.prompt_tokens,
            cached_tokens=self.query.cached_tokens_at(arm),
            max_output_tokens=self.query.most_output_tokens(arm),
            prices=arm.prices,
            price_per_usd=self.mark.price_per_usd,
            snapshot_version=served.model.version,
            learned_rewards=served.model.rewards,
            projection_version=self.projection_version,
            policy_id=f"{served.policy_prefix}/{tenant.budget_policy}",
            exploration=served.exploration,
            reason=reason,
            decided_ms=self.decided_ms,
            deadline_ms=self.decided_ms + int(tenant.hold_ttl_s * 1000),
            window_start_ms=self.levels[0].window.start_ms,
            seed=served.pool.seed,
            shadow=reason is Reason.FALLBACK or all(level.shadow for level in self.levels),
            learned_bills=served.model.calibration.counts[position],
            baseline=served.baseline,
            isolated=tenant.isolated,
            charges=tuple(level.charge for level in self.levels),
            pool_generation=served.pool.generation,
            default_reward=_default_of(served.pool, self.decided_ms),
        )


def _default_of(pool: Pool, decided_ms: int) -> DefaultReward | None:
    if pool.default_reward is None:
        return None
    return DefaultReward(pool.default_reward, decided_ms + int(pool.default_reward_deadline_s * 1000))
