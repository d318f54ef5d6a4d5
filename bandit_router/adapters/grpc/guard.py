"""What every call goes through: field rules, the caller's deadline, errors as statuses, and metrics.

Handlers are plain functions from request to response that raise RouterError. A fault that is none becomes INTERNAL
with no word about its cause; the cause goes to the log, once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from bandit_router.adapters.grpc.errors import DETAILS_KEY, DeadlineExceeded, to_status
from bandit_router.adapters.grpc.validation import check
from bandit_router.core.errors import RouterError, StoreAway
from bandit_router.ports.ledger import StoreUnavailable
from bandit_router.ports.observer import Observer

_Q = TypeVar("_Q", bound=Message)
_R = TypeVar("_R", bound=Message)
_Context = grpc.aio.ServicerContext[Any, Any]


class Guard:
    """Turns handlers into what a gRPC server calls."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    def unary(self, method: str, handler: Callable[[_Q], Awaitable[_R]]) -> Callable[[_Q, _Context], Awaitable[_R]]:
        """A call with one response. `method` names it in metrics."""

        async def call(request: _Q, context: _Context) -> _R:
            watch = _Watch(self._observer, method)
            try:
                check(request)
                async with asyncio.timeout(context.time_remaining()):
                    return await handler(request)
            except Exception as fault:  # noqa: BLE001 - whatever it is, the caller gets a status
                error = self.as_router_error(method, fault)
                watch.code = error.code
                await _abort(context, error)
            except asyncio.CancelledError:
                watch.code = "CANCELLED"
                raise
            finally:
                watch.stop()

        return call

    def streaming(
        self, method: str, handler: Callable[[_Q], AsyncIterator[_R]]
    ) -> Callable[[_Q, _Context], AsyncIterator[_R]]:
        """A call with a stream of responses."""

        async def call(request: _Q, context: _Context) -> AsyncIterator[_R]:
            watch = _Watch(self._observer, method)
            try:
                check(request)
                async for response in handler(request):
                    yield response
            except Exception as fault:  # noqa: BLE001 - whatever it is, the caller gets a status
                error = self.as_router_error(method, fault)
                watch.code = error.code
                await _abort(context, error)
            except (asyncio.CancelledError, GeneratorExit):
                watch.code = "CANCELLED"
                raise
            finally:
                watch.stop()

        return call

    async def item(self, method: str, request: _Q, handler: Callable[[_Q], Awaitable[_R]]) -> _R | Status:
        """One item of a batch: its response, or the status that it would have failed with alone."""
        try:
            check(request)
            return await handler(request)
        except Exception as fault:  # noqa: BLE001 - whatever it is, the other items go on
            error = self.as_router_error(method, fault)
            self._observer.count("batch_items_failed", method=method, code=error.code)
            return to_status(error)

    def as_router_error(self, method: str, fault: Exception) -> RouterError:
        """The error to tell the caller."""
        if isinstance(fault, RouterError):
            return fault
        if isinstance(fault, StoreUnavailable):
            return StoreAway("the store did not answer in time")
        if isinstance(fault, TimeoutError):
            return DeadlineExceeded("the call's deadline passed")
        self._observer.note("unexpected_error", method=method, exc_info=fault)
        return RouterError("internal error; the server's log has the details")


class _Watch:
    """Rate, errors and duration of one call."""

    def __init__(self, observer: Observer, method: str) -> None:
        self.code = "OK"
        self._observer = observer
        self._method = method
        self._started_s = time.perf_counter()

    def stop(self) -> None:
        self._observer.count("rpc_requests", method=self._method, code=self.code)
        self._observer.time("rpc_seconds", time.perf_counter() - self._started_s, method=self._method)


async def _abort(context: _Context, error: RouterError) -> NoReturn:
    status = to_status(error)
    await context.abort(
        grpc.StatusCode[error.code],
        status.message,
        trailing_metadata=((DETAILS_KEY, status.SerializeToString()),),
    )
    raise AssertionError("abort raises")
