"""Clients of a router server.

    async with AsyncRouterClient("localhost:50051", tenant_id="acme", fallback_arm_id="small") as router:
        route = await router.route("What is the capital of France?")
        ...call the model route.arm_id...
        await router.feedback(route.decision_id, input_tokens=12, output_tokens=5, reward=1.0)

Every call has a deadline. A call that meets an unreachable router or store is repeated inside it: by gRPC itself, after
the retry policy below, which backs off with jitter, and stops repeating while most calls fail. Written as a service
config it can be copied to clients in any language. Repeating is safe: request ids make Route idempotent, and a repeated
Feedback is a DUPLICATE. Refusals come back as the RouterError that the router raised.

With `fallback_arm_id`, Route answers with that arm (`is_fallback`) when no router could answer in time, so that an
application never stops because its router does.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Self, Unpack

import grpc
from google.protobuf.message import Message

from bandit_router.adapters.grpc.errors import from_rpc_error
from bandit_router.client_admin import Admin, AsyncAdmin
from bandit_router.client_calls import (
    DEFAULT_BATCH_TIMEOUT_S,
    DEFAULT_TIMEOUT_S,
    AsyncCalls,
    Calls,
    feedback_results,
)
from bandit_router.client_messages import (
    SKIPPED,
    FeedbackFields,
    FeedbackItem,
    FeedbackResult,
    Route,
    RouteFields,
    RouteItem,
    feedback_result,
    route_result,
)
from bandit_router.core.errors import RouterError
from bandit_router.v1 import admin_pb2_grpc, router_pb2_grpc

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
ADMIN_TIMEOUT_S = 10.0

SERVICE_CONFIG = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "bandit_router.v1.RouterService"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.03s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
}
"""CANCELLED is what a server that stops answers to calls it has not begun. Admin calls are not repeated: a grant is not
idempotent."""

CONNECT_TIMEOUT_MS = 5_000
"""How long one attempt to connect may take, handshakes included: a far or busy server needs more than a moment."""

CHANNEL_OPTIONS: tuple[tuple[str, Any], ...] = (
    ("grpc.service_config", json.dumps(SERVICE_CONFIG)),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_MS),  # not a wait: the least that an attempt is given
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


class AsyncRouterClient(AsyncCalls):
    """A client for asyncio; belongs to the event loop it is made on. `credentials` turn TLS on."""

    def __init__(
        self,
        target: str,
        *,
        tenant_id: str = "",
        fallback_arm_id: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        batch_timeout_s: float = DEFAULT_BATCH_TIMEOUT_S,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        super().__init__(Calls(tenant_id, fallback_arm_id, timeout_s, batch_timeout_s))
        self._channel = (
            grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
        )
        self._stub = router_pb2_grpc.RouterServiceStub(self._channel)
        self._admin_stub = admin_pb2_grpc.AdminServiceStub(self._channel)
        self.admin = AsyncAdmin(self._invoke_admin)

    async def _invoke(self, method: str, request: Message, timeout_s: float) -> Any:
        return await self._send(self._stub, method, request, timeout_s)

    async def _invoke_admin(self, method: str, request: Message) -> Any:
        return await self._send(self._admin_stub, method, request, ADMIN_TIMEOUT_S)

    async def _send(self, stub: object, method: str, request: Message, timeout_s: float) -> Any:
        try:
            return await getattr(stub, method)(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    async def close(self) -> None:
        """Disconnect."""
        await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class RouterClient:
    """A client for threads; safe to share between them. `credentials` turn TLS on."""

    def __init__(
        self,
        target: str,
        *,
        tenant_id: str = "",
        fallback_arm_id: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        batch_timeout_s: float = DEFAULT_BATCH_TIMEOUT_S,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._calls = Calls(tenant_id, fallback_arm_id, timeout_s, batch_timeout_s)
        self._channel = (
            grpc.insecure_channel(target, options=CHANNEL_OPTIONS)
            if credentials is None
            else grpc.secure_channel(target, credentials, options=CHANNEL_OPTIONS)
        )
        self._stub = router_pb2_grpc.RouterServiceStub(self._channel)
        self._admin_stub = admin_pb2_grpc.AdminServiceStub(self._channel)
        self.admin = Admin(self._invoke_admin)

    def route(
        self, query: str | None = None, *, timeout_s: float | None = None, **fields: Unpack[RouteFields]
    ) -> Route:
        """See `AsyncCalls.route`."""
        request = self._calls.route(query, fields)
        try:
            return route_result(self._invoke("Route", request, timeout_s or self._calls.timeout_s))
        except RouterError as error:
            return self._calls.recover(error)

    def route_batch(self, items: Sequence[RouteItem], *, timeout_s: float | None = None) -> list[Route | RouterError]:
        """See `AsyncCalls.route_batch`."""
        request = self._calls.route_batch(items)
        try:
            response = self._invoke("RouteBatch", request, timeout_s or self._calls.batch_timeout_s)
        except RouterError as error:
            return self._calls.recover_batch(error, len(items))
        return self._calls.routes(response)

    def feedback(
        self, decision_id: str, *, timeout_s: float | None = None, **fields: Unpack[FeedbackFields]
    ) -> FeedbackResult:
        """See `AsyncCalls.feedback`."""
        if not decision_id:
            return SKIPPED
        request = self._calls.feedback({"decision_id": decision_id, **fields})
        return feedback_result(self._invoke("Feedback", request, timeout_s or self._calls.timeout_s))

    def feedback_batch(
        self, items: Sequence[FeedbackItem], *, timeout_s: float | None = None
    ) -> list[FeedbackResult | RouterError]:
        """See `AsyncCalls.feedback_batch`."""
        request = self._calls.feedback_batch(items)
        if not request.requests:
            return [SKIPPED] * len(items)
        response = self._invoke("FeedbackBatch", request, timeout_s or self._calls.batch_timeout_s)
        return feedback_results(items, response)

    def close(self) -> None:
        """Disconnect."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _invoke(self, method: str, request: Message, timeout_s: float) -> Any:
        return self._send(self._stub, method, request, timeout_s)

    def _invoke_admin(self, method: str, request: Message) -> Any:
        return self._send(self._admin_stub, method, request, ADMIN_TIMEOUT_S)

    def _send(self, stub: object, method: str, request: Message, timeout_s: float) -> Any:
        try:
            return getattr(stub, method)(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
