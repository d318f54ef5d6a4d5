"""Keys and scripts: one hash slot per call, and every key passed, none built."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest
from redis.crc import key_slot

from bandit_router.adapters.redis import keys, records, scripts
from bandit_router.adapters.redis import ledger as redis_ledger
from bandit_router.core.budget import BudgetEditKind, Charge
from bandit_router.core.budget_policies.protocol import PriceMark
from bandit_router.core.outcomes import Booking
from bandit_router.core.partition import partition_of
from bandit_router.core.resources import WindowKind
from bandit_router.core.windows import Window
from bandit_router.ports.ledger import BudgetEdit, HoldRequest, Level, OutcomeCommit

LUA = sorted((files("bandit_router.adapters.redis") / "lua").iterdir(), key=lambda path: path.name)
TENANTS = ("acme", "globex", "team-7.prod", "x")
WINDOW = Window(1_000, 2_000, 0, WindowKind.DAY, 7)


def slots(names):
    return {key_slot(name.encode()) for name in names}


def script_keys(command):
    count = command.args[2]
    return command.args[3 : 3 + count]


@pytest.mark.parametrize("tenant_id", TENANTS)
def test_a_hold_touches_one_slot(tenant_id):
    price = PriceMark(1.0, 0, 0)
    levels = (Level(tenant_id, WINDOW, carry_over=True), Level(tenant_id, WINDOW, session_id="a b:c", cap_nusd=5))
    request = HoldRequest(tenant_id, "d1", "r1", levels, 1, 1, 1, 1, 1, b"", b"", b"", price)
    names = script_keys(redis_ledger._hold_command(request, ["", ""]))
    assert len(names) == 16
    assert len(slots(names)) == 1


def test_a_hold_of_a_tenant_and_its_organisation_touches_one_slot():
    levels = (Level("acme/search", WINDOW), Level("acme", WINDOW))
    request = HoldRequest("acme/search", "d1", "r1", levels, 1, 1, 1, 1, 1, b"", b"", b"", PriceMark(1.0, 0, 0))
    assert len(slots(script_keys(redis_ledger._hold_command(request, ["day:0", "day:-5"])))) == 1


@pytest.mark.parametrize("tenant_id", TENANTS)
def test_a_decision_dropped_from_those_with_defaults_touches_one_slot(tenant_id):
    names = [keys.decision(tenant_id, "d1"), keys.defaults(partition_of(tenant_id))]
    assert len(slots(script_keys(scripts.DROP_DEFAULT.on(names, "", "member")))) == 1


@pytest.mark.parametrize("tenant_id", TENANTS)
def test_a_commit_touches_one_slot(tenant_id):
    charges = (Charge(tenant_id, WINDOW.name), Charge(tenant_id, "session:a b"))
    commit = OutcomeCommit(
        tenant_id, "pool", "d1", charges, 0, b"", b"", Booking(stands=True), Booking(stands=False), 0
    )
    assert len(slots(script_keys(redis_ledger._commit_command(commit, [charge.window for charge in charges])))) == 1


@pytest.mark.parametrize("tenant_id", TENANTS)
def test_an_edit_touches_one_slot(tenant_id):
    edit = BudgetEdit(tenant_id, BudgetEditKind.GRANT, 1, "", "", 0, edit_id="e1")
    assert len(slots(script_keys(redis_ledger._edit_command(edit, Level(tenant_id, WINDOW), "")))) == 1


def test_requests_of_tenants_whose_ids_contain_colons_are_told_apart():
    assert keys.request("acme", "eu8:r1") != keys.request("acme:eu8", "r1")
    assert keys.edit("acme", "eu8:r1") != keys.edit("acme:eu8", "r1")
    assert keys.window("acme", "session:eu8") != keys.window("acme:session", "eu8")


def test_a_pools_keys_share_a_slot():
    assert len(slots([keys.lease("chat"), keys.fence("chat"), keys.snapshot("chat")])) == 1


def test_the_catalogs_keys_share_a_slot():
    names = [keys.CATALOG_SCHEMA, keys.CATALOG_VERSION, keys.CATALOG_CHANGES]
    names += [name(kind) for name in (keys.documents, keys.document_index) for kind in ("pool", "arm", "tenant")]
    assert len(slots(names)) == 1


def test_partitions_have_slots_of_their_own():
    assert len(slots(keys.due(partition) for partition in range(16))) == 16


@pytest.mark.parametrize("path", LUA, ids=lambda path: path.name)
def test_scripts_take_every_key_from_keys(path):
    calls = re.findall(r"redis\.call\('(\w+)', ([^,)]+)", path.read_text())
    taken = r"KEYS\[\d\]|key|account|unpack\(KEYS|at\.(account|window|own|latest|index|audit|old)|old"
    built = [(name, key) for name, key in calls if not re.fullmatch(taken, key)]
    assert built == []


@pytest.mark.parametrize("path", LUA, ids=lambda path: path.name)
def test_scripts_begin_with_their_contract(path):
    head = path.read_text().split("\n\n")[0]
    assert head.startswith("-- ")
    assert "KEYS" in head


def test_a_fixed_window_is_never_forgotten():
    assert records.level_args(Level("acme", Window(0)), "")[7:9] == ["", ""]
