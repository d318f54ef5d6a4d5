"""The gRPC server: both services, health, reflection, and an orderly end.

Health by service name: `liveness` is SERVING as long as the process answers at all. The empty name and the names of
both services tell readiness: NOT_SERVING while the store is away, for good once it needs newer code than this, and from
the moment the server drains.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from bandit_router.adapters.grpc.admin_servicer import AdminServicer
from bandit_router.adapters.grpc.guard import Guard
from bandit_router.adapters.grpc.handlers import service_handler
from bandit_router.adapters.grpc.router_servicer import RouterServicer
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.service.assembly import Services
from bandit_router.v1 import admin_pb2, router_pb2

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""A full batch of embeddings is half of it."""

MAX_CONCURRENT_CALLS = 10_000
"""Further calls are answered RESOURCE_EXHAUSTED at once."""

KEEPALIVE_MS = 30_000
MIN_PING_INTERVAL_MS = 10_000
MAX_PENDING_CALLS = 8192
"""Calls that may wait to be begun before new ones are cancelled at random; gRPC's own thousand is one client's burst.
Twice as many and all are."""

MAX_PENDING_S = 3600
"""How long a call may wait to be begun. Its caller says how long it waits; gRPC's own 30 s would cut that short."""

READINESS_INTERVAL_S = 0.5
DRAIN_S = 30.0
"""How long calls under way may take to finish when the server stops; then they are cancelled."""

ROUTER = router_pb2.DESCRIPTOR.services_by_name["RouterService"]
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"]
LIVENESS = "liveness"
READY_NAMES = ("", ROUTER.full_name, ADMIN.full_name)

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", KEEPALIVE_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
    ("grpc.server.max_pending_requests", MAX_PENDING_CALLS),
    ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING_CALLS),
    ("grpc.server_max_unrequested_time_in_server", MAX_PENDING_S),
)


class AddressInUse(Exception):
    """The listen address cannot be bound."""


class Server:
    """One listening server over one replica's services. `ping` raises StoreUnavailable while the store is away.

    `share_port`: other processes of this server listen on the same port (SO_REUSEPORT).
    """

    def __init__(
        self, services: Services, *, ping: Callable[[], Awaitable[None]], reflect: bool, share_port: bool = False
    ) -> None:
        self._observer = services.observer
        self._clock = services.clock
        self._schema = services.schema
        self._ping = ping
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs do not know it
        self._readiness: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        guard = Guard(services.observer, services.schema)
        self._server = grpc.aio.server(
            options=(*_OPTIONS, ("grpc.so_reuseport", int(share_port))), maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS
        )
        self._server.add_generic_rpc_handlers(
            (
                service_handler(ROUTER, RouterServicer(services, guard), guard),
                service_handler(ADMIN, AdminServicer(services, self._stopping), guard),
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if reflect:
            names = (ROUTER.full_name, ADMIN.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)

    async def start(self, listen: str) -> int:
        """Serve on `host:port`; returns the port, chosen by the system for port 0. Raises AddressInUse."""
        try:
            port = self._server.add_insecure_port(listen)
        except RuntimeError as error:
            raise AddressInUse(f"cannot listen on {listen}: {error}") from None
        await self._server.start()
        await self._health.set(LIVENESS, health_pb2.HealthCheckResponse.SERVING)
        await self._set_ready(ready=True)
        self._readiness = asyncio.create_task(self._watch_store(), name="readiness")
        return port

    async def drain(self, grace_s: float = DRAIN_S) -> None:
        """Tell load balancers, take no more calls, let those under way finish for at most `grace_s`."""
        if self._readiness is not None:
            self._readiness.cancel()
            await asyncio.gather(self._readiness, return_exceptions=True)
        await self._set_ready(ready=False)
        self._stopping.set()
        await self._server.stop(grace_s)

    async def _watch_store(self) -> None:
        was_reachable = was_ready = True
        while True:
            await self._clock.sleep(READINESS_INTERVAL_S)
            reachable = await self._reachable()
            if reachable != was_reachable:
                was_reachable = reachable
                self._observer.note("store_back" if reachable else "store_away")
            ready = reachable and self._schema.is_readable
            if ready != was_ready:
                was_ready = ready
                await self._set_ready(ready=ready)

    async def _reachable(self) -> bool:
        try:
            await self._ping()
        except StoreUnavailable:
            return False
        except Exception as fault:  # noqa: BLE001 - the watch must go on, and a store that answers oddly is not ready
            self._observer.note("unexpected_error", method="ping", exc_info=fault)
            return False
        return True

    async def _set_ready(self, *, ready: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in READY_NAMES:
            await self._health.set(name, status)
        self._observer.level("ready", float(ready))
