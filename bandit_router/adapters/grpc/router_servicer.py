"""RouterService: Route and Feedback, one by one and in batches.

Deciding takes the event loop a millisecond or so, and while it decides it cannot read what the store answers. Without a
bound, a burst of a thousand calls would be decided in one go, and the first of them would find that the store has not
answered for a second. So a bounded number is under way at a time, and the rest wait their turn.

The items of a batch go in chunks, one chunk at a time among all batches: single calls get through between them, and a
chunk's items, which reach the store in one round trip, are decided and booked in their order. The same batches thus
give the same decisions, however fast the store answers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from bandit_router.adapters.grpc import wire
from bandit_router.adapters.grpc.guard import Guard
from bandit_router.service.assembly import Services
from bandit_router.v1 import router_pb2

MAX_ACTIVE_CALLS = 64
CHUNK_ITEMS = 32

_Q = TypeVar("_Q", bound=Message)
_R = TypeVar("_R", bound=Message)


class RouterServicer:
    """One handler per method. Requests have passed validation, but for the items of batches."""

    def __init__(self, services: Services, guard: Guard) -> None:
        self._route = services.route
        self._feedback = services.feedback
        self._guard = guard
        self._calls = asyncio.Semaphore(MAX_ACTIVE_CALLS)
        self._chunk = asyncio.Lock()

    async def route(self, request: router_pb2.RouteRequest) -> router_pb2.RouteResponse:
        """Decide and hold."""
        async with self._calls:
            return await self._route_one(request)

    async def feedback(self, request: router_pb2.FeedbackRequest) -> router_pb2.FeedbackResponse:
        """Settle, reward or correct."""
        async with self._calls:
            return await self._feedback_one(request)

    async def route_batch(self, request: router_pb2.RouteBatchRequest) -> router_pb2.RouteBatchResponse:
        """Decide about all items side by side; each succeeds or fails by itself."""
        results = await self._all("Route", request.requests, self._route_one)
        return router_pb2.RouteBatchResponse(
            items=[
                router_pb2.RouteBatchItem(error=result)
                if isinstance(result, Status)
                else router_pb2.RouteBatchItem(response=result)
                for result in results
            ]
        )

    async def feedback_batch(self, request: router_pb2.FeedbackBatchRequest) -> router_pb2.FeedbackBatchResponse:
        """Take all items side by side; each succeeds or fails by itself."""
        results = await self._all("Feedback", request.requests, self._feedback_one)
        return router_pb2.FeedbackBatchResponse(
            items=[
                router_pb2.FeedbackBatchItem(error=result)
                if isinstance(result, Status)
                else router_pb2.FeedbackBatchItem(response=result)
                for result in results
            ]
        )

    async def _route_one(self, request: router_pb2.RouteRequest) -> router_pb2.RouteResponse:
        reply = await self._route.route(wire.route_request(request))
        return wire.route_response(reply, explain=request.explain)

    async def _feedback_one(self, request: router_pb2.FeedbackRequest) -> router_pb2.FeedbackResponse:
        reply = await self._feedback.feedback(wire.feedback_request(request))
        return wire.feedback_response(request.tenant_id, reply)

    async def _all(
        self, method: str, requests: Sequence[_Q], handler: Callable[[_Q], Awaitable[_R]]
    ) -> list[_R | Status]:
        """The results of all items, in order."""
        results: list[_R | Status] = []
        for start in range(0, len(requests), CHUNK_ITEMS):
            async with self._chunk:
                chunk = requests[start : start + CHUNK_ITEMS]
                results += await asyncio.gather(*(self._guard.item(method, request, handler) for request in chunk))
        return results
