"""A router without a server: the client's interface over the same services, in the application's own process.

    async with Router.open(data_dir="router-data", tenant_id="acme") as router:
        await router.admin.create_pool("main")
        ...
        route = await router.route("What is the capital of France?")
        await router.feedback(route.decision_id, cost_usd="0.00012", reward=1.0)

Requests pass the same field rules and raise the same errors as over gRPC. With a `redis_url` any number of processes,
servers among them, share one state; a `data_dir` belongs to one process at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import structlog
from google.protobuf.message import Message

from bandit_router.adapters.grpc.admin_servicer import AdminServicer
from bandit_router.adapters.grpc.guard import Guard
from bandit_router.adapters.grpc.handlers import handler_of
from bandit_router.adapters.grpc.router_servicer import RouterServicer
from bandit_router.adapters.system.observer import SystemObserver
from bandit_router.app.config import load_config
from bandit_router.app.wiring import open_replica
from bandit_router.client_admin import AsyncAdmin
from bandit_router.client_calls import DEFAULT_BATCH_TIMEOUT_S, DEFAULT_TIMEOUT_S, AsyncCalls, Calls, random_id
from bandit_router.service.assembly import Services
from bandit_router.service.tasks import BackgroundTasks


class Router(AsyncCalls):
    """Routing, feedback and `admin` in this process; belongs to one event loop. Made by `open`."""

    def __init__(
        self,
        services: Services,
        *,
        tenant_id: str = "",
        fallback_arm_id: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        batch_timeout_s: float = DEFAULT_BATCH_TIMEOUT_S,
        new_request_id: Callable[[], str] = random_id,
    ) -> None:
        """A router over services that somebody else starts and closes."""
        super().__init__(Calls(tenant_id, fallback_arm_id, timeout_s, batch_timeout_s, new_request_id))
        self._guard = Guard(services.observer, services.schema)
        self._router = RouterServicer(services, self._guard)
        self._administration = AdminServicer(services, asyncio.Event())
        self.admin = AsyncAdmin(self._invoke_admin)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        data_dir: Path | str | None = None,
        redis_url: str | None = None,
        tenant_id: str = "",
        fallback_arm_id: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        batch_timeout_s: float = DEFAULT_BATCH_TIMEOUT_S,
    ) -> AsyncIterator[Self]:
        """A router on a store of its own in `data_dir`, or on a Redis or Valkey; learns in the background.

        What is not given comes from the environment, as for a server. Metrics are kept for nobody, facts go to the
        logger `bandit_router`. Raises ConfigError, DataDirectoryInUse, EmbeddedServerError, SchemaTooNew,
        StoreUnavailable.
        """
        replica = open_replica(load_config(None, {"data_dir": data_dir, "redis_url": redis_url}), _observer())
        try:
            await replica.services.start()
            tasks = BackgroundTasks(replica.services)
            tasks.start()
            try:
                yield cls(
                    replica.services,
                    tenant_id=tenant_id,
                    fallback_arm_id=fallback_arm_id,
                    timeout_s=timeout_s,
                    batch_timeout_s=batch_timeout_s,
                )
            finally:
                await tasks.stop()
        finally:
            await replica.close()

    async def _invoke(self, method: str, request: Message, timeout_s: float) -> Any:
        handler = handler_of(self._router, method)
        return await self._guard.run(method, request, handler, remaining_s=timeout_s)

    async def _invoke_admin(self, method: str, request: Message) -> Any:
        return await self._guard.run(method, request, handler_of(self._administration, method))


def _observer() -> SystemObserver:
    """An observer that leaves the look of the log to the application."""
    logger = structlog.wrap_logger(
        logging.getLogger("bandit_router"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.stdlib.render_to_log_kwargs],
    )
    return SystemObserver(logger)
