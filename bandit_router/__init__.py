"""An online contextual-bandit router for LLM requests, with exact budget control.

Names are loaded when they are first used: the core must not drag gRPC in, nor a client the server.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bandit_router.client import AsyncRouterClient, RouterClient
    from bandit_router.client_messages import Budget, FeedbackResult, Route
    from bandit_router.core.errors import RouterError
    from bandit_router.router import Router

__version__ = "0.1.0"

_HOMES = {
    "AsyncRouterClient": "bandit_router.client",
    "Budget": "bandit_router.client_messages",
    "FeedbackResult": "bandit_router.client_messages",
    "Route": "bandit_router.client_messages",
    "Router": "bandit_router.router",
    "RouterClient": "bandit_router.client",
    "RouterError": "bandit_router.core.errors",
}

__all__ = [
    "AsyncRouterClient",
    "Budget",
    "FeedbackResult",
    "Route",
    "Router",
    "RouterClient",
    "RouterError",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
