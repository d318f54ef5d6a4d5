"""Priors over gRPC and by the commands: import, show, remove, and refusals."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
from server_process import ServerProcess
from typer.testing import CliRunner

from bandit_router import RouterClient
from bandit_router.app.cli.root import app
from bandit_router.client_json import JsonClient, prior_parts
from bandit_router.core.errors import InvalidRequest, ResourceNotFound
from bandit_router.core.pool_prior import PoolPrior
from bandit_router.core.prior import ArmPrior
from bandit_router.core.prior_codec import encode_prior
from bandit_router.v1 import admin_pb2 as pb
from bandit_router.v1 import admin_pb2_grpc


def data_of(encoder_id: str = "static") -> bytes:
    mean = np.zeros(35)
    mean[0] = 0.3
    arms = {"small": ArmPrior(mean, 500.0 * np.eye(35)), "unknown": ArmPrior(mean, np.eye(35))}
    return encode_prior(PoolPrior(encoder_id, 32, arms, features=("hour",), provenance={"method": "bradley-terry"}))


@pytest.fixture
def scripts(server: ServerProcess) -> Iterator[JsonClient]:
    with JsonClient(server.listen) as client:
        yield client


def expected_small(client: RouterClient) -> float:
    arms = client.route(query="hi", explain=True, dry_run=True).arms
    return next(arm.expected_reward for arm in arms if arm.arm_id == "small")


def test_a_prior_is_imported_shown_used_and_removed(scripts: JsonClient, client: RouterClient) -> None:
    before = expected_small(client)
    imported = scripts.import_prior("main", data_of())
    assert (imported["rows"], imported["rows_skipped"], imported["arm_ids"]) == ("1", "1", ["small"])
    assert int(imported["prior_version"]) > 0
    assert expected_small(client) == pytest.approx(0.3, abs=0.02)
    shown = scripts.call("GetPrior", {"pool_id": "main"})["prior"]
    assert (shown["version"], shown["in_force"]) == (imported["prior_version"], True)
    assert shown["provenance"] == {"method": "bradley-terry"}
    [arm] = shown["arms"]
    assert (arm["arm_id"], arm["borrowed"]) == ("small", False)
    assert arm["worth_of_rewards"] == pytest.approx(500.0)
    scripts.call("DeletePrior", {"pool_id": "main"})
    assert expected_small(client) == before
    with pytest.raises(ResourceNotFound) as caught:
        scripts.call("GetPrior", {"pool_id": "main"})
    assert caught.value.reason == "PRIOR_NOT_FOUND"


def test_a_prior_for_another_encoder_is_refused(scripts: JsonClient) -> None:
    with pytest.raises(InvalidRequest) as caught:
        scripts.import_prior("main", data_of("vector:384"))
    assert str(caught.value) == "prior.encoder_id: is 'vector:384', the pool's is 'static'"


def test_bytes_that_were_damaged_on_the_way_are_data_loss(server: ServerProcess) -> None:
    parts = list(prior_parts(pb.PriorHeader(pool_id="main", format=pb.PRIOR_FORMAT_FITTED), data_of()))
    parts[-1].trailer.sha256 = bytes(32)
    with grpc.insecure_channel(server.listen) as channel, pytest.raises(grpc.RpcError) as caught:
        admin_pb2_grpc.AdminServiceStub(channel).ImportPrior(iter(parts), timeout=20)
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS


def test_rows_are_not_fitted_by_the_server(server: ServerProcess) -> None:
    header = pb.PriorHeader(pool_id="main", format=pb.PRIOR_FORMAT_BATTLES_JSONL)
    with grpc.insecure_channel(server.listen) as channel, pytest.raises(grpc.RpcError) as caught:
        admin_pb2_grpc.AdminServiceStub(channel).ImportPrior(prior_parts(header, b"{}\n"), timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "prior fit" in str(caught.value.details())


def test_the_commands_import_show_and_remove(server: ServerProcess, tmp_path: Path) -> None:
    file = tmp_path / "main.prior"
    file.write_bytes(data_of())

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["prior", *arguments, "--target", server.listen])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert "small" in run("import", "main", str(file))
    assert "bradley-terry" in run("show", "main")
    run("remove", "main")
    gone = CliRunner().invoke(app, ["prior", "show", "main", "--target", server.listen])
    assert gone.exit_code == 1
    assert "PRIOR_NOT_FOUND" in gone.stderr
