"""Route and Feedback without a transport: what is sent, what is made of the answers, and when to fall back.

`AsyncCalls` is what the asynchronous gRPC client and the in-process router have in common.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from google.protobuf.message import Message

from bandit_router.adapters.grpc.errors import from_status
from bandit_router.client_messages import (
    SKIPPED,
    FeedbackFields,
    FeedbackItem,
    FeedbackResult,
    Route,
    RouteFields,
    RouteItem,
    fallback_route,
    feedback_message,
    feedback_result,
    route_message,
    route_result,
)
from bandit_router.core.errors import RouterError
from bandit_router.v1 import router_pb2

DEFAULT_TIMEOUT_S = 1.0
"""Above what a server waits for its store and encoder (0.5 s each), so that its precise answer arrives first."""

DEFAULT_BATCH_TIMEOUT_S = 10.0

FALLBACK_CODES = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"})
"""Failures of the router itself, which a client with a fallback arm answers with that. Refusals are not among them:
an exhausted budget or an invalid request is raised."""

OVERLOADED = "RESOURCE_EXHAUSTED"
"""Reason (not code: that is an exhausted budget's, too) of a server that has too many calls under way."""


def random_id() -> str:
    """A request id that nobody else uses."""
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Calls:
    """A client's defaults, applied to requests and failures."""

    tenant_id: str = ""
    fallback_arm_id: str | None = None
    timeout_s: float = DEFAULT_TIMEOUT_S
    batch_timeout_s: float = DEFAULT_BATCH_TIMEOUT_S
    new_request_id: Callable[[], str] = random_id

    def route(self, query: str | None, fields: RouteFields) -> router_pb2.RouteRequest:
        """The request on the wire. Raises InvalidRequest."""
        item: RouteItem = {**fields}  # type: ignore[typeddict-item]  # it sees no reason why `query` may be missing
        if query is not None:
            item["query"] = query
        return self.route_item(item)

    def route_item(self, item: RouteItem) -> router_pb2.RouteRequest:
        """The request on the wire. Raises InvalidRequest."""
        return route_message({"tenant_id": self.tenant_id, "request_id": self.new_request_id(), **item})

    def route_batch(self, items: Sequence[RouteItem]) -> router_pb2.RouteBatchRequest:
        """The request on the wire. Raises InvalidRequest."""
        return router_pb2.RouteBatchRequest(requests=[self.route_item(item) for item in items])

    def feedback(self, item: FeedbackItem) -> router_pb2.FeedbackRequest:
        """The request on the wire. Raises InvalidRequest."""
        return feedback_message({"tenant_id": self.tenant_id, **item})

    def feedback_batch(self, items: Sequence[FeedbackItem]) -> router_pb2.FeedbackBatchRequest:
        """The request on the wire, without items about the client's own fallbacks. Raises InvalidRequest."""
        return router_pb2.FeedbackBatchRequest(requests=[self.feedback(item) for item in items if item["decision_id"]])

    def recover(self, error: RouterError) -> Route:
        """The fallback if there is one and the failure is the router's own; else raises `error`."""
        is_failure = error.code in FALLBACK_CODES or error.reason == OVERLOADED
        if self.fallback_arm_id is None or not is_failure:
            raise error
        return fallback_route(self.fallback_arm_id)

    def recover_batch(self, error: RouterError, count: int) -> list[Route | RouterError]:
        """`recover` for all items of a batch that failed as a whole."""
        return [self.recover(error)] * count

    def routes(self, response: router_pb2.RouteBatchResponse) -> list[Route | RouterError]:
        """A decision or an error per item."""
        return [self._route_item(item) for item in response.items]

    def _route_item(self, item: router_pb2.RouteBatchItem) -> Route | RouterError:
        if item.HasField("response"):
            return route_result(item.response)
        error = from_status(item.error)
        try:
            return self.recover(error)
        except RouterError:
            return error


def feedback_results(
    items: Sequence[FeedbackItem], response: router_pb2.FeedbackBatchResponse
) -> list[FeedbackResult | RouterError]:
    """A result or an error per item; SKIPPED for those that were not sent."""
    answers = iter(response.items)
    return [_feedback_item(next(answers)) if item["decision_id"] else SKIPPED for item in items]


def _feedback_item(item: router_pb2.FeedbackBatchItem) -> FeedbackResult | RouterError:
    return feedback_result(item.response) if item.HasField("response") else from_status(item.error)


class AsyncCalls(ABC):
    """Routing and feedback for applications that run on an event loop."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    @abstractmethod
    async def _invoke(self, method: str, request: Message, timeout_s: float) -> Any:
        """The response of a RouterService method. Raises RouterError."""

    async def route(
        self, query: str | None = None, *, timeout_s: float | None = None, **fields: Unpack[RouteFields]
    ) -> Route:
        """Decide which arm to call. Raises RouterError, unless a fallback arm is set and no router answers."""
        request = self._calls.route(query, fields)
        try:
            return route_result(await self._invoke("Route", request, timeout_s or self._calls.timeout_s))
        except RouterError as error:
            return self._calls.recover(error)

    async def route_batch(
        self, items: Sequence[RouteItem], *, timeout_s: float | None = None
    ) -> list[Route | RouterError]:
        """Decide about many queries in one call; each gets a decision or an error of its own."""
        request = self._calls.route_batch(items)
        try:
            response = await self._invoke("RouteBatch", request, timeout_s or self._calls.batch_timeout_s)
        except RouterError as error:
            return self._calls.recover_batch(error, len(items))
        return self._calls.routes(response)

    async def feedback(
        self, decision_id: str, *, timeout_s: float | None = None, **fields: Unpack[FeedbackFields]
    ) -> FeedbackResult:
        """Report a bill, a reward or both; nothing is sent about a client's own fallback. Raises RouterError."""
        if not decision_id:
            return SKIPPED
        request = self._calls.feedback({"decision_id": decision_id, **fields})
        return feedback_result(await self._invoke("Feedback", request, timeout_s or self._calls.timeout_s))

    async def feedback_batch(
        self, items: Sequence[FeedbackItem], *, timeout_s: float | None = None
    ) -> list[FeedbackResult | RouterError]:
        """Report about many decisions in one call; each gets a result or an error of its own."""
        request = self._calls.feedback_batch(items)
        if not request.requests:
            return [SKIPPED] * len(items)
        response = await self._invoke("FeedbackBatch", request, timeout_s or self._calls.batch_timeout_s)
        return feedback_results(items, response)
