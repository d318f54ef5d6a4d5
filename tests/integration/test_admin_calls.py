"""Administration over gRPC: pages, masks, etags, audit, and what arms and learning do when they are switched."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from server_process import ServerProcess, settled_dump, wait_until

from bandit_router import RouterClient
from bandit_router.errors import NoFeasibleArm
from bandit_router.v1 import admin_pb2 as pb
from bandit_router.v1 import admin_pb2_grpc, resources_pb2


@pytest.fixture(scope="module")
def admin(server: ServerProcess) -> Iterator[admin_pb2_grpc.AdminServiceStub]:
    with grpc.insecure_channel(server.listen) as channel:
        yield admin_pb2_grpc.AdminServiceStub(channel)


def test_what_is_sent_back_has_its_defaults_filled_in(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    pool = admin.CreatePool(pb.CreatePoolRequest(pool={"pool_id": "bare"})).pool
    assert (pool.encoder_id, pool.dimension, pool.learner, pool.exploration) == ("static", 32, "hierarchical", "igw")
    assert pool.etag
    tenant = admin.CreateTenant(pb.CreateTenantRequest(tenant={"tenant_id": "bare", "pool_id": "bare"})).tenant
    assert (tenant.budget_policy, tenant.hold_ttl.seconds) == ("replan", 600)
    assert tenant.window.kind == resources_pb2.WINDOW_KIND_FIXED


def test_lists_come_in_pages_in_order(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    admin.CreatePool(pb.CreatePoolRequest(pool={"pool_id": "paged"}))
    for number in range(7):
        arm = resources_pb2.Arm(arm_id=f"arm-{number}", input_usd_per_mtok="1", output_usd_per_mtok="1")
        admin.PutArm(pb.PutArmRequest(pool_id="paged", arm=arm))
    request, found = pb.ListArmsRequest(pool_id="paged", page_size=3), []
    while not found or request.page_token:
        page = admin.ListArms(request)
        found.append([arm.arm_id for arm in page.arms])
        request.page_token = page.next_page_token
    assert found == [["arm-0", "arm-1", "arm-2"], ["arm-3", "arm-4", "arm-5"], ["arm-6"]]


def test_a_mask_changes_its_fields_only(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    tenant = {"tenant_id": "masked", "pool_id": "main", "limit_nusd": 5, "expected_calls": 10}
    admin.CreateTenant(pb.CreateTenantRequest(tenant=tenant))
    change = pb.UpdateTenantRequest(tenant={"tenant_id": "masked", "shadow": True}, update_mask={"paths": ["shadow"]})
    changed = admin.UpdateTenant(change).tenant
    assert (changed.shadow, changed.expected_calls, changed.limit_nusd) == (True, 10, 5)
    stale = pb.UpdateTenantRequest(tenant=changed)
    admin.UpdateTenant(change)
    with pytest.raises(grpc.RpcError) as caught:
        admin.UpdateTenant(stale)
    assert caught.value.code() is grpc.StatusCode.ABORTED


@pytest.mark.parametrize("path", ["shade", "pool_id", "hold_ttl"])
def test_a_mask_names_fields_with_good_values(admin: admin_pb2_grpc.AdminServiceStub, path: str) -> None:
    change = pb.UpdateTenantRequest(tenant={"tenant_id": "acme", "hold_ttl": {"seconds": -1}})
    change.update_mask.paths.append(path)
    with pytest.raises(grpc.RpcError) as caught:
        admin.UpdateTenant(change)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert path in caught.value.details()


def test_budget_edits_are_audited_page_by_page(admin: admin_pb2_grpc.AdminServiceStub) -> None:
    admin.CreateTenant(pb.CreateTenantRequest(tenant={"tenant_id": "audited", "pool_id": "main", "limit_nusd": 100}))
    admin.SetBudgetLimit(pb.SetBudgetLimitRequest(tenant_id="audited", limit_nusd=50, reason="less"))
    admin.GrantBudget(pb.GrantBudgetRequest(tenant_id="audited", amount_nusd=7, reason="more"))
    admin.ResetBudget(pb.ResetBudgetRequest(tenant_id="audited", reason="again"))
    first = admin.ListBudgetAudit(pb.ListBudgetAuditRequest(tenant_id="audited", page_size=2))
    rest = admin.ListBudgetAudit(
        pb.ListBudgetAuditRequest(tenant_id="audited", page_size=2, page_token=first.next_page_token)
    )
    entries = [*first.entries, *rest.entries]
    assert [(entry.reason, entry.after.limit_nusd) for entry in entries] == [("less", 50), ("more", 57), ("again", 57)]
    assert rest.next_page_token == ""
    assert entries[0].edited_at.seconds > 0


def test_an_arm_is_out_at_once(client: RouterClient) -> None:
    client.admin.create_pool("switching")
    client.admin.create_tenant("switching", "switching", limit_usd=1)
    for arm_id in ("one", "two"):
        client.admin.put_arm("switching", arm_id, input_usd_per_mtok="1", output_usd_per_mtok="1")
    client.admin.remove_arm("switching", "one")
    assert client.route("hello", tenant_id="switching").arm_id == "two"
    client.admin.put_arm("switching", "two", input_usd_per_mtok="1", output_usd_per_mtok="1", enabled=False)
    with pytest.raises(NoFeasibleArm) as excluded:
        client.route("hello", tenant_id="switching")
    assert excluded.value.excluded == {"two": "disabled"}


def test_frozen_learning_goes_on_with_what_has_come_in_since(
    server: ServerProcess, client: RouterClient, admin: admin_pb2_grpc.AdminServiceStub
) -> None:
    def version() -> int:
        return client.route("hello", dry_run=True).snapshot_version

    assert admin.FreezeLearning(pb.FreezeLearningRequest(pool_id="main", frozen=True)).pool.learning_frozen
    before = version()
    client.feedback(client.route("hello").decision_id, cost_nusd=5, reward=1.0)
    with server.store() as store:
        settled_dump(store)
    assert version() == before
    admin.FreezeLearning(pb.FreezeLearningRequest(pool_id="main", frozen=False))
    wait_until(lambda: version() > before)
