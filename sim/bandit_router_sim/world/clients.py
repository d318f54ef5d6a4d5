"""The applications: they route, retry with the same request id, and report what became of it in every possible way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from bandit_router.core.codec import encode_decision
from bandit_router.core.decision import Decision
from bandit_router.core.errors import (
    BudgetExhausted,
    DecisionExpired,
    DecisionNotFound,
    InvalidRequest,
    NoFeasibleArm,
    ResourceNotFound,
    RouterError,
    StoreAway,
)
from bandit_router.core.outcomes import Billing, FeedbackStatus
from bandit_router.core.resources import Pool, Tenant
from bandit_router.service.messages import FeedbackReply, FeedbackRequest, RouteReply, RouteRequest
from bandit_router_sim.world.acts import Act, ActKind
from bandit_router_sim.world.books import Entry
from bandit_router_sim.world.draws import TOLERANCE, check_decision
from bandit_router_sim.world.expectations import after_feedback
from bandit_router_sim.world.failure import Violation
from bandit_router_sim.world.founding import make_feedback, make_request, spoil
from bandit_router_sim.world.stage import Replica, Stage

_RECENT = 12


@dataclass(slots=True)
class Account:
    """A tenant as its application knows it. `arm_ids`: all that its pool has ever had."""

    tenant: Tenant
    pool: Pool
    arm_ids: list[str]


@dataclass(slots=True)
class Counts:
    """What happened, for the summary."""

    routed: int = 0
    refused: int = 0
    away: int = 0
    reports: int = 0


@dataclass(slots=True)
class Memory:
    """What the applications remember."""

    accounts: list[Account] = field(default_factory=list)
    requests: list[RouteRequest] = field(default_factory=list)
    unanswered: list[RouteRequest] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    reports: list[FeedbackRequest] = field(default_factory=list)


class Clients:
    """All applications."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.memory = Memory()
        self.counts = Counts()

    def ask(self, replica: Replica) -> None:
        """A new request, rarely a rehearsal of one."""
        dice, memory = self._stage.dice, self.memory
        account = dice.pick(memory.accounts)
        request_id = f"q{len(memory.requests)}"
        request = make_request(dice, account.tenant.tenant_id, account.pool, account.arm_ids, request_id)
        if dice.chance(0.04):
            request = replace(request, dry_run=True)
        elif request.request_id:
            memory.requests.append(request)
            memory.unanswered.append(request)
        self.send(replica, request)

    def ask_again(self, replica: Replica) -> None:
        """The same request once more, preferably one that had no answer, also while it is under way."""
        memory, dice = self.memory, self._stage.dice
        waiting = memory.unanswered if memory.unanswered and dice.chance(0.7) else memory.requests
        if waiting:
            self.send(replica, dice.pick(waiting[-_RECENT:]))

    def report(self, replica: Replica) -> None:
        """A report about one of the decisions, mostly a recent one; or an earlier report once more; or a bad one."""
        dice, memory = self._stage.dice, self.memory
        if not memory.decisions:
            return
        if memory.reports and dice.chance(0.12):
            request = dice.pick(memory.reports[-_RECENT:])
        else:
            known = memory.decisions[-_RECENT:] if dice.chance(0.7) else memory.decisions
            request = make_feedback(dice, dice.pick(known))
            memory.reports.append(request)
        self.send_report(replica, spoil(dice, request) if dice.chance(0.04) else request)

    def send(self, replica: Replica, request: RouteRequest) -> None:
        """Route on a replica."""
        act = self._stage.begin(ActKind.ROUTE, f"{request.tenant_id}/{request.request_id or '-'}", replica)
        act.route = request
        self._stage.spawn(act, self._route(act, replica, request))

    def send_report(self, replica: Replica, request: FeedbackRequest) -> None:
        """Feedback on a replica."""
        act = self._stage.begin(ActKind.FEEDBACK, request.decision_id[-8:], replica)
        act.feedback = request
        self._stage.spawn(act, self._report(act, replica, request))

    async def _route(self, act: Act, replica: Replica, request: RouteRequest) -> None:
        watch, began = self._stage.watch, self._stage.watch.views.version
        known = watch.books.decided(request.tenant_id, request.request_id, self._stage.clock.now_ms())
        try:
            reply = await replica.services.route.route(request)
        except RouterError as error:
            self._check_refusal(act, request, error, began)
            self._check_retry(act, error, known)
            self._stage.tell(act, f"{error.reason}")
            self.counts.refused += not isinstance(error, StoreAway)
            self.counts.away += isinstance(error, StoreAway)
            return
        self._check_reply(act, request, reply)
        decision = reply.decision
        self._stage.tell(act, f"{decision.arm_id} {reply.propensity!r} λ={decision.price_per_usd!r}")
        if request.dry_run:
            return
        self.counts.routed += 1
        if request in self.memory.unanswered:
            self.memory.unanswered.remove(request)
        if act.holds or decision not in self.memory.decisions[-_RECENT:]:
            self.memory.decisions.append(decision)

    def _check_refusal(self, act: Act, request: RouteRequest, error: RouterError, began: int) -> None:
        views, oldest = self._stage.watch.views, act.oldest_view
        if isinstance(error, NoFeasibleArm):
            views.check_refusal(error, request, oldest)
        elif isinstance(error, ResourceNotFound):
            views.check_missing(error, act, request.tenant_id, began=began)
        elif isinstance(error, BudgetExhausted):
            self._check_exhausted(act, request, error)
        elif not isinstance(error, StoreAway):
            raise Violation(f"{act.name} was answered {error!r}")

    def _check_retry(self, act: Act, error: RouterError, known: Entry | None) -> None:
        """A request that has its decision gets it, whatever has become of the arms; or is told to try again."""
        if known is None or isinstance(error, StoreAway):
            return
        if act.route is not None and not act.route.dry_run and not self._is_over(known):
            raise Violation(f"{act.name} was answered {error.reason}, though it has {known.decision.decision_id}")

    def _is_over(self, entry: Entry) -> bool:
        return self._stage.clock.now_ms() >= entry.deadline_ms + entry.keep_ms

    def _check_exhausted(self, act: Act, request: RouteRequest, error: BudgetExhausted) -> None:
        """No allowed arm's hold fitted at the moment the store said so, and there was no fallback."""
        if request.dry_run:
            free_nusd, fits = act.free_nusd, error.least_hold_nusd <= act.free_nusd
        else:
            assert act.misfit is not None
            free_nusd = act.misfit_free_nusd
            allowed = [quote for quote in act.misfit.quotes if not quote.excluded_because]
            fits = any(quote.hold_nusd <= free_nusd for quote in allowed)
            tenants = self._stage.watch.views.tenants(request.tenant_id, act.oldest_view)
            fits = fits or any(
                quote.hold_nusd == 0 and all(quote.arm_id == tenant.fallback_arm_id for tenant in tenants)
                for quote in allowed
            )
        if fits or error.free_nusd != free_nusd:
            raise Violation(f"{act.name} was refused ({error}) with {free_nusd} free")

    def _check_reply(self, act: Act, request: RouteRequest, reply: RouteReply) -> None:
        """The reply is the stored decision of this very request, with its exact propensities."""
        decision = reply.decision
        if act.shown is None or reply.budget != act.shown:
            raise Violation(f"{act.name} was told {reply.budget}, the store said {act.shown}")
        if request.dry_run:
            expected = check_decision(decision, free_nusd=act.free_nusd)
        else:
            books = self._stage.watch.books
            entry = books.entries[decision.decision_id]
            if encode_decision(decision) != entry.packed or decision.request_id != request.request_id:
                raise Violation(f"{act.name} was told {decision}, stored is {entry.decision}")
            known = books.decided(request.tenant_id, request.request_id, self._stage.clock.now_ms())
            if known not in (None, entry):
                raise Violation(f"{act.name} was told {decision.decision_id}, another decision of {request.request_id}")
            expected = check_decision(decision, free_nusd=entry.free_nusd)
        _check_propensities(act, reply, expected)

    async def _report(self, act: Act, replica: Replica, request: FeedbackRequest) -> None:
        try:
            reply = await replica.services.feedback.feedback(request)
        except StoreAway:
            self._stage.tell(act, "away")
            return
        except (InvalidRequest, DecisionNotFound, DecisionExpired) as error:
            self._check_rejection(act, request, error)
            self._stage.tell(act, error.reason)
            return
        self.counts.reports += 1
        _check_report_reply(act, request, reply)
        self._stage.tell(act, f"{reply.status.value} {reply.settled_cost_nusd} {reply.released_nusd}")

    def _check_rejection(self, act: Act, request: FeedbackRequest, error: RouterError) -> None:
        """Nothing was changed, and the report was bad or its decision is not there."""
        entry = self._stage.watch.books.entries.get(request.decision_id)
        is_known = entry is not None and entry.decision.tenant_id == request.tenant_id
        is_true = True
        if isinstance(error, DecisionNotFound):
            is_true = not is_known
        elif isinstance(error, DecisionExpired):
            is_true = entry is None or not entry.is_kept(self._stage.clock.now_ms())
        elif isinstance(error, InvalidRequest):
            is_true = _is_bad(request)
        if act.commits or not is_true:
            raise Violation(f"{act.name} was rejected ({error!r}) after {act.commits} commits")


def _check_propensities(act: Act, reply: RouteReply, expected: dict[str, float]) -> None:
    told = reply.propensities
    if not math.isclose(sum(told.values()), 1.0, abs_tol=TOLERANCE):
        raise Violation(f"{act.name}: propensities {told} sum to {sum(told.values())}")
    if set(told) != set(expected) or any(abs(told[arm] - expected[arm]) > TOLERANCE for arm in told):
        raise Violation(f"{act.name}: propensities {told}, from the record {expected}")
    if reply.propensity <= 0.0:
        raise Violation(f"{act.name}: chose {reply.decision.arm_id}, which had no chance")


def _check_report_reply(act: Act, request: FeedbackRequest, reply: FeedbackReply) -> None:
    """Status, cost and release are those of the outcome as it was read, and the change of it is in the store."""
    if _is_bad(request) or act.read is None or act.read_of is None:
        raise Violation(f"{act.name} was answered {reply}, though it is bad or has no decision")
    after, status = after_feedback(act.read, request, act.read_of)
    released_nusd = 0 if after.billing is Billing.HELD else max(0, after.hold_nusd - after.cost_nusd)
    if (reply.status, reply.settled_cost_nusd, reply.released_nusd) != (status, after.cost_nusd, released_nusd):
        raise Violation(f"{act.name} was answered {reply}, should be {status}, {after.cost_nusd}, {released_nusd}")
    told = act.shown if status is FeedbackStatus.DUPLICATE else act.committed
    if (status is FeedbackStatus.DUPLICATE) != (act.committed is None) or reply.budget != told:
        raise Violation(f"{act.name} was answered {reply}, its commit {act.committed}")


def _is_bad(request: FeedbackRequest) -> bool:
    usage = request.usage
    counts = () if usage is None else (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens)
    costs = () if usage is None else (usage.cost_nusd,)
    return (
        (request.reward is not None and not 0.0 <= request.reward <= 1.0)
        or (request.retract and request.reward is not None)
        or any(not math.isfinite(value) for value in request.metrics.values())
        or any(value is not None and not 0 <= value <= 2**53 for value in (*counts, *costs))
        or (usage is not None and (usage.cached_input_tokens or 0) > (usage.input_tokens or 0))
    )
