"""What every call goes through: whether this code can read the store at all, field rules, the caller's deadline, errors
as statuses, and metrics.

Handlers are plain functions from request to response that raise RouterError. A fault that is none becomes INTERNAL
with no word about its cause; the cause goes to the log, once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, Self, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from bandit_router.adapters.grpc.errors import DETAILS_KEY, DeadlineExceeded, to_status
from bandit_router.adapters.grpc.validation import check
from bandit_router.core.errors import RouterError, StoreAway
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.ports.observer import Observer
from bandit_router.service.schema_watch import SchemaWatch
from bandit_router.service.time_limit import TimeLimit, caller_waits

STORE_AWAY = "the store did not answer in time; it is safe to retry with the same ids"
"""The cause names hosts, which are none of the caller's business."""

_Q = TypeVar("_Q", bound=Message)
_R = TypeVar("_R", bound=Message)
_Context = grpc.aio.ServicerContext[Any, Any]


class Guard:
    """Runs handlers, and turns them into what a gRPC server calls. `method` names a call in metrics and the log."""

    def __init__(self, observer: Observer, schema: SchemaWatch) -> None:
        self._observer = observer
        self._schema = schema

    async def run(
        self, method: str, request: _Q, handler: Callable[[_Q], Awaitable[_R]], *, remaining_s: float | None = None
    ) -> _R:
        """The handler's response to a request that passes validation, in time. Raises RouterError and nothing else."""
        try:
            self._schema.check()
            check(request)
            return await _in_time(handler(request), remaining_s)
        except Exception as fault:
            error = self._as_router_error(method, fault)
            if error is fault:
                raise
            raise error from fault

    async def item(self, method: str, request: _Q, handler: Callable[[_Q], Awaitable[_R]]) -> _R | Status:
        """One item of a batch: its response, or the status that it would have failed with alone."""
        try:
            return await self.run(method, request, handler)
        except RouterError as error:
            self._observer.count("batch_items_failed", method=method, code=error.code)
            return to_status(error)

    def unary(self, method: str, handler: Callable[[_Q], Awaitable[_R]]) -> Callable[[_Q, _Context], Awaitable[_R]]:
        """A call with one response."""

        async def call(request: _Q, context: _Context) -> _R:
            with _Watch(self._observer, method) as watch:
                try:
                    return await self.run(method, request, handler, remaining_s=context.time_remaining())
                except RouterError as error:
                    watch.code = error.code
                    await _abort(context, error)

        return call

    def streaming(
        self, method: str, handler: Callable[[_Q], AsyncIterator[_R]]
    ) -> Callable[[_Q, _Context], AsyncIterator[_R]]:
        """A call with a stream of responses; gRPC itself ends it at its deadline."""

        async def call(request: _Q, context: _Context) -> AsyncIterator[_R]:
            with _Watch(self._observer, method) as watch:
                try:
                    self._schema.check()
                    check(request)
                    async for response in handler(request):
                        self._schema.check()
                        yield response
                except Exception as fault:  # noqa: BLE001 - whatever it is, the caller gets a status
                    error = self._as_router_error(method, fault)
                    watch.code = error.code
                    await _abort(context, error)

        return call

    def receiving(
        self, method: str, handler: Callable[[AsyncIterator[_Q]], Awaitable[_R]]
    ) -> Callable[[AsyncIterator[_Q], _Context], Awaitable[_R]]:
        """A call with a stream of requests, which the handler checks one by one, and one response."""

        async def call(requests: AsyncIterator[_Q], context: _Context) -> _R:
            with _Watch(self._observer, method) as watch:
                try:
                    self._schema.check()
                    return await _in_time(handler(requests), context.time_remaining())
                except Exception as fault:  # noqa: BLE001 - whatever it is, the caller gets a status
                    error = self._as_router_error(method, fault)
                    watch.code = error.code
                    await _abort(context, error)

        return call

    def refusing(self, method: str, error: RouterError) -> Callable[[object, _Context], Awaitable[NoReturn]]:
        """A call that always fails."""

        async def call(_: object, context: _Context) -> NoReturn:
            with _Watch(self._observer, method) as watch:
                watch.code = error.code
                await _abort(context, error)

        return call

    def _as_router_error(self, method: str, fault: Exception) -> RouterError:
        """The error to tell the caller."""
        if isinstance(fault, StoreUnavailable) or isinstance(fault.__cause__, StoreUnavailable):
            return StoreAway(STORE_AWAY)
        if isinstance(fault, RouterError):
            return fault
        self._observer.note("unexpected_error", method=method, exc_info=fault)
        return RouterError("internal error; the server's log has the details")


class _Watch:
    """Rate, errors and duration of one call; one that is left by cancellation counts as CANCELLED."""

    def __init__(self, observer: Observer, method: str) -> None:
        self.code = "OK"
        self._observer = observer
        self._method = method
        self._started_s = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, asyncio.CancelledError | GeneratorExit):
            self.code = "CANCELLED"
        self._observer.count("rpc_requests", method=self._method, code=self.code)
        self._observer.time("rpc_seconds", time.perf_counter() - self._started_s, method=self._method)


async def _in_time(answer: Awaitable[_R], remaining_s: float | None) -> _R:
    """The answer within the caller's deadline. Raises DeadlineExceeded."""
    limit = TimeLimit(remaining_s)
    try:
        with caller_waits(remaining_s):
            async with limit:
                return await answer
    except TimeoutError:
        if limit.expired:
            raise DeadlineExceeded("the call's deadline passed") from None
        raise


async def _abort(context: _Context, error: RouterError) -> NoReturn:
    status = to_status(error)
    await context.abort(
        grpc.StatusCode[error.code],
        status.message,
        trailing_metadata=((DETAILS_KEY, status.SerializeToString()),),
    )
    raise AssertionError("abort raises")
