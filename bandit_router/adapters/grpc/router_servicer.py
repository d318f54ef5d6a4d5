"""RouterService: Route and Feedback, one by one and in batches."""

from __future__ import annotations

import asyncio

from google.rpc.status_pb2 import Status

from bandit_router.adapters.grpc import wire
from bandit_router.adapters.grpc.guard import Guard
from bandit_router.service.assembly import Services
from bandit_router.v1 import router_pb2


class RouterServicer:
    """One handler per method. Requests have passed validation, but for the items of batches."""

    def __init__(self, services: Services, guard: Guard) -> None:
        self._route = services.route
        self._feedback = services.feedback
        self._guard = guard

    async def route(self, request: router_pb2.RouteRequest) -> router_pb2.RouteResponse:
        """Decide and hold."""
        reply = await self._route.route(wire.route_request(request))
        return wire.route_response(reply, explain=request.explain)

    async def feedback(self, request: router_pb2.FeedbackRequest) -> router_pb2.FeedbackResponse:
        """Settle, reward or correct."""
        reply = await self._feedback.feedback(wire.feedback_request(request))
        return wire.feedback_response(request.tenant_id, reply)

    async def route_batch(self, request: router_pb2.RouteBatchRequest) -> router_pb2.RouteBatchResponse:
        """Decide about all items side by side; each succeeds or fails by itself."""
        results = await asyncio.gather(*(self._guard.item("Route", item, self.route) for item in request.requests))
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
        results = await asyncio.gather(
            *(self._guard.item("Feedback", item, self.feedback) for item in request.requests)
        )
        return router_pb2.FeedbackBatchResponse(
            items=[
                router_pb2.FeedbackBatchItem(error=result)
                if isinstance(result, Status)
                else router_pb2.FeedbackBatchItem(response=result)
                for result in results
            ]
        )
