from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bandit_router.core.budget_policies.replan import SOLVE_EVERY
from bandit_router.core.resources import HoldPolicy, WindowKind, WindowRule
from bandit_router.ports.ledger import RECENT_CONTEXTS, HoldRequest, Level
from bandit_router.service import pacing
from bandit_router.service.learning import LEASE_MS
from bandit_router.service.messages import Usage
from bandit_router.service.models import ServedPool
from bandit_router.service.pacing import FORECAST_MS
from bandit_router.service.reservoirs import Sample, build_reservoir
from tests.builders import SMALL, make_arm, make_prices, make_tenant
from tests.unit.service.worlds import World, Wrapped, open_world, with_parts

TIGHT = make_tenant(limit_nusd=10**9, expected_calls=1000)


class Watched(Wrapped):
    """Remembers the price mark of every hold."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.holds: list[HoldRequest] = []
        self.looked_at: list[str] = []

    async def budget(self, level: Level) -> Any:
        self.looked_at.append(level.account_id)
        return await self.inner.budget(level)

    async def hold(self, request: HoldRequest) -> Any:
        self.holds.append(request)
        return await self.inner.hold(request)

    @property
    def solved_at(self) -> list[int]:
        """The counts of decisions at which prices were solved, in order."""
        marks = [hold.price.decisions for hold in self.holds]
        return [mark for index, mark in enumerate(marks) if index == 0 or mark != marks[index - 1]]

    @property
    def prices(self) -> list[float]:
        return [hold.price.price_per_usd for hold in self.holds]


async def watched_world(**options: Any) -> tuple[World, Watched]:
    world = await open_world(**{"tenants": [TIGHT], **options})
    ledger = Watched(world.store.ledger)
    return await world.replica(2, with_parts(world.store, ledger=ledger)), ledger


async def test_the_price_is_solved_often_at_first_and_then_every_so_many_decisions() -> None:
    world, ledger = await watched_world()
    for index in range(200):
        await world.route(f"query {index}")
    assert ledger.solved_at == [0, 1, 3, 7, 15, 31, 63, 63 + SOLVE_EVERY, 63 + 2 * SOLVE_EVERY]


async def test_money_that_is_short_has_a_price_and_money_enough_has_none() -> None:
    for limit_nusd, priced in ((10**8, True), (10**12, False)):
        world, ledger = await watched_world(tenants=[replace(TIGHT, limit_nusd=limit_nusd)])
        await world.route()
        assert (ledger.prices[-1] > 0) == priced


async def test_a_tenant_without_a_budget_policy_pays_no_price() -> None:
    world, ledger = await watched_world(tenants=[replace(TIGHT, limit_nusd=10**8, budget_policy="none")])
    assert (await world.route()).decision.price_per_usd == 0.0
    assert ledger.prices == [0.0]


async def test_the_expected_spend_at_the_price_is_the_pace() -> None:
    world, _ = await watched_world(tenants=[replace(TIGHT, limit_nusd=3 * 10**8)])
    for index in range(31):
        await world.route(f"query {index}")
    decision = (await world.route("query 31")).decision
    served = await world.services.models.served("pool")
    samples = [Sample.unpack(data) for data in await world.store.ledger.recent_contexts("acme")][1:]
    reservoir = build_reservoir(samples, served)
    shares = served.weigher()(reservoir.rewards - decision.price_per_usd * reservoir.costs_usd, reservoir.deviations)
    account = (await world.budget()).account
    in_flight_nusd = account.in_flight_nusd - decision.quote.expected_cost_nusd
    pace_usd = (account.limit_nusd - in_flight_nusd) / 1e9 / (1000 - 31)
    assert (shares * reservoir.costs_usd).sum(axis=1).mean() == pytest.approx(pace_usd, rel=0.01)


async def test_an_arm_whose_hold_no_longer_fits_moves_no_price_but_on_trial_it_does() -> None:
    calls = {"limit_nusd": 30 * 10**6, "expected_calls": 10}  # one hold of the dearest arm is 40 million
    for shadow in (False, True):
        world, _ = await watched_world(tenants=[replace(TIGHT, **calls, shadow=shadow)])
        assert ((await world.route()).decision.price_per_usd > 0.0) == shadow


@pytest.mark.parametrize(("policy", "looks"), [("replan", True), ("primal_dual", False), ("threshold", False)])
async def test_holds_are_looked_at_by_the_policy_that_reckons_with_them(
    policy: str, looks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at, holds = [], ServedPool.worst_holds

    def watched(*asked: Any) -> Any:
        looked_at.append(asked)
        return holds(*asked)

    monkeypatch.setattr(ServedPool, "worst_holds", watched)
    world, _ = await watched_world(tenants=[replace(TIGHT, budget_policy=policy)])
    await world.route()
    assert bool(looked_at) == looks


async def test_one_long_prompt_prices_no_arm_out_for_the_calls_after_it() -> None:
    prices = []
    for words in (3, 30_000):
        world, _ = await watched_world(tenants=[replace(TIGHT, limit_nusd=3 * 10**8)])
        for index in range(63):
            await world.route(f"query {index}")
        prices.append((await world.route("long " * words)).decision.price_per_usd)
    assert prices[1] == pytest.approx(prices[0], rel=0.01)


async def test_holds_that_bills_may_exceed_are_not_reckoned_with() -> None:
    calls = {"limit_nusd": 3 * 10**6, "expected_calls": 10}  # no quantile of the dearest arm's cost fits
    world, _ = await watched_world(tenants=[replace(TIGHT, **calls, hold_policy=HoldPolicy.QUANTILE)])
    assert (await world.route()).decision.price_per_usd > 0.0


async def test_a_budget_edit_is_priced_in_at_once() -> None:
    world, ledger = await watched_world()
    for index in range(40):
        await world.route(f"query {index}")
    before = ledger.prices[-1]
    await world.services.budgets.set_limit("acme", 10**12, reason="", actor="")
    await world.route()
    assert before > 0.0
    assert ledger.prices[-1] == 0.0
    assert ledger.solved_at[-1] == 40


async def test_an_edit_made_through_another_replica_is_priced_in_after_the_next_hold() -> None:
    world, ledger = await watched_world()
    for index in range(40):
        await world.route(f"query {index}")
    other = await world.replica(seed=3)
    await other.services.budgets.set_limit("acme", 10**12, reason="", actor="")
    await world.route()
    await world.route()
    assert ledger.prices[-1] == 0.0


async def test_a_price_change_of_an_arm_is_priced_in_at_once() -> None:
    world, _ = await watched_world()
    for index in range(40):
        await world.route(f"query {index}")
    for arm in ("small", "medium", "large"):
        cheap = make_arm(arm, prices=make_prices(0.001, 0.001), max_output_tokens=1000)
        await world.services.admin.put_arm("pool", cheap, etag="", dry_run=False)
    assert (await world.route()).decision.price_per_usd == 0.0


async def test_a_new_snapshot_is_priced_in_at_once() -> None:
    world, ledger = await watched_world()
    for index in range(40):
        await world.settle(await world.route(f"query {index}"), reward=0.5)
    await world.services.learner.step("pool")
    await world.route()
    assert ledger.solved_at[-1] == 40
    assert ledger.holds[-1].price.snapshot_version == 1


async def test_a_new_window_is_priced_afresh() -> None:
    world, ledger = await watched_world(tenants=[replace(TIGHT, window=WindowRule(WindowKind.HOUR))])
    for index in range(40):
        await world.route(f"query {index}")
    world.clock.jump(3600)
    await world.route()
    assert ledger.holds[-1].price.decisions == 0


async def test_a_forecast_window_is_priced_again_as_time_passes() -> None:
    tenant = make_tenant(limit_nusd=10**9, window=WindowRule(WindowKind.HOUR))
    world, ledger = await watched_world(tenants=[tenant])
    world.clock.jump(60)
    for index in range(40):
        await world.route(f"query {index}")
    mark = ledger.solved_at[-1]
    world.clock.jump(FORECAST_MS / 1000 - 0.001)
    await world.route()
    assert ledger.solved_at[-1] == mark
    world.clock.jump(0.001)
    await world.route()
    assert ledger.solved_at[-1] == 41


async def test_time_alone_changes_no_price_where_demand_is_declared() -> None:
    world, ledger = await watched_world(tenants=[replace(TIGHT, window=WindowRule(WindowKind.HOUR))])
    for index in range(40):
        await world.route(f"query {index}")
    mark = ledger.solved_at[-1]
    world.clock.jump(1000)
    await world.route()
    assert ledger.solved_at[-1] == mark


async def serve(
    world: World, first: int, last: int, tenant_id: str = "acme"
) -> list[tuple[str, float, dict[str, float]]]:
    """Decisions for consecutive request ids, settled and learned from as they come."""
    served = []
    for index in range(first, last):
        reply = await world.route(f"query {index}", tenant_id, request_id=f"r{index}")
        decision = reply.decision
        served.append((decision.arm_id, decision.price_per_usd, dict(reply.propensities)))
        await world.settle(reply, output_tokens=50 + 7 * (index % 40), reward=0.5 + 0.1 * (index % 4))
        if index % 25 == 24:
            await world.services.learner.step("pool")
    return served


@pytest.mark.parametrize("restart_at", [1, 50, 77])
@pytest.mark.parametrize("tenant", [TIGHT, replace(TIGHT, limit_nusd=2 * 10**8, expected_calls=0)])
async def test_a_restarted_replica_decides_as_if_it_had_never_stopped(restart_at: int, tenant: Any) -> None:
    whole = await serve(await open_world(tenants=[tenant]), 0, 130)
    world = await open_world(tenants=[tenant])
    before = await serve(world, 0, restart_at)
    await world.services.close()
    after = await serve(await world.replica(seed=99), restart_at, 130)
    assert before + after == whole
    assert len({price for _, price, _ in whole}) > 3


def family(limit_nusd: int, **options: Any) -> list[Any]:
    """An organisation, and two tenants that have money enough."""
    organisation = make_tenant("acme", limit_nusd=limit_nusd, **options)
    team = replace(TIGHT, tenant_id="acme/team", limit_nusd=10**12, parent_tenant_id="acme")
    return [organisation, team, replace(team, tenant_id="acme/rival")]


async def prices_of(world: World, calls: int, tenant_id: str = "acme/team") -> list[float]:
    return [(await world.route(f"query {index}", tenant_id=tenant_id)).decision.price_per_usd for index in range(calls)]


async def test_money_that_is_short_above_a_tenant_has_the_price_of_its_own() -> None:
    for options in ({"expected_calls": 1000}, {"window": WindowRule(WindowKind.DAY), "expected_calls": 1000}):
        above = await prices_of(await open_world(tenants=family(3 * 10**8, **options)), 31)
        own = replace(TIGHT, limit_nusd=3 * 10**8)
        assert above == await prices_of(await open_world(tenants=[own]), 31, "acme")
        assert above[-1] > 0


@pytest.mark.parametrize("options", [{"limit_nusd": 10**12}, {"limit_nusd": 3 * 10**8, "shadow": True}])
async def test_an_organisation_that_is_loose_or_on_trial_moves_no_price(options: dict[str, Any]) -> None:
    world = await open_world(tenants=family(**options, expected_calls=1000))
    assert set(await prices_of(world, 5)) == {0.0}


async def test_what_others_spend_of_the_organisation_makes_money_dearer() -> None:
    alone, crowded = [await open_world(tenants=family(3 * 10**8, expected_calls=1000)) for _ in range(2)]
    for index in range(200):
        reply = await crowded.route(f"other {index}", tenant_id="acme/rival")
        await crowded.feedback(reply.decision.decision_id, "acme/rival", usage=Usage(cost_nusd=10**6))
    assert (await prices_of(crowded, 1))[0] > (await prices_of(alone, 1))[0] > 0


async def test_the_organisation_is_looked_at_when_a_price_is_solved_and_only_then() -> None:
    world, ledger = await watched_world(tenants=family(3 * 10**8, expected_calls=1000))
    for index in range(40):
        await world.route(f"query {index}", tenant_id="acme/team")
    assert ledger.looked_at.count("acme") == len(ledger.solved_at) == 6
    loose = [replace(tenant, budget_policy="primal_dual") for tenant in family(3 * 10**8)]
    world, ledger = await watched_world(tenants=loose)
    await world.route(tenant_id="acme/team")
    assert "acme" not in ledger.looked_at


async def test_a_restarted_replica_paces_by_the_organisation_as_before() -> None:
    tenants = family(3 * 10**8)
    whole = await serve(await open_world(tenants=tenants), 0, 80, "acme/team")
    world = await open_world(tenants=tenants)
    before = await serve(world, 0, 50, "acme/team")
    await world.services.close()
    assert before + await serve(await world.replica(seed=99), 50, 80, "acme/team") == whole
    assert len({price for _, price, _ in whole}) > 3


async def test_a_killed_replica_is_followed_by_the_same_decisions_once_its_lease_has_run_out() -> None:
    whole = await serve(await open_world(tenants=[TIGHT]), 0, 80)
    world = await open_world(tenants=[TIGHT])
    before = await serve(world, 0, 50)
    world.clock.jump(LEASE_MS / 1000)
    after = await serve(await world.replica(seed=99), 50, 80)
    assert before + after == whole


async def test_a_tenant_that_was_forgotten_is_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "MAX_TENANTS", 1)
    tenants = [replace(TIGHT, tenant_id=t) for t in ("acme", "other")]
    alone = await open_world(tenants=tenants)
    expected = [(await alone.route(f"q{i}", request_id=f"r{i}")).decision.price_per_usd for i in range(40)]
    world = await open_world(tenants=tenants)
    found = []
    for index in range(40):
        found.append((await world.route(f"q{index}", request_id=f"r{index}")).decision.price_per_usd)
        await world.route(tenant_id="other")
    assert found == expected


async def test_a_pool_without_live_arms_has_no_price_to_solve() -> None:
    world = await open_world(arms=[replace(SMALL, enabled=False)])
    served = await world.services.models.served("pool")
    assert not served.has_live_arms


async def test_the_reservoir_keeps_the_latest_queries() -> None:
    world, _ = await watched_world(tenants=[replace(TIGHT, limit_nusd=10**12)])
    for index in range(RECENT_CONTEXTS + 10):
        await world.route(f"query {index}", prompt_tokens=index)
    recent = world.services.route._pacer._paces["acme"].recent
    assert len(recent) == RECENT_CONTEXTS
    assert recent[0].prompt_tokens == RECENT_CONTEXTS + 9
    stored = [Sample.unpack(data) for data in await world.store.ledger.recent_contexts("acme")]
    assert [s.prompt_tokens for s in stored] == [s.prompt_tokens for s in recent]


async def test_dry_runs_leave_the_prices_of_real_decisions_as_they_would_have_been() -> None:
    plain, rehearsed = (await watched_world(), await watched_world())
    for index in range(40):
        await rehearsed[0].route(f"rehearsal {index}", dry_run=True)
        for world, _ in (plain, rehearsed):
            await world.route(f"query {index}", request_id=f"r{index}")
    assert rehearsed[1].prices == plain[1].prices


async def test_an_account_from_before_the_last_decision_seen_is_old_news() -> None:
    world, _ = await watched_world()
    replies = [await world.route(f"query {index}") for index in range(4)]
    pacer = world.services.route._pacer
    pacer.observe("acme", replies[0].budget)
    assert pacer._paces["acme"].budget == replies[3].budget
