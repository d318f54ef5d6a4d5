"""From a servicer's plain functions to the handlers that a gRPC server registers, by the service's descriptor."""

from __future__ import annotations

import re
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from bandit_router.adapters.grpc.errors import NotImplementedYet
from bandit_router.adapters.grpc.guard import Guard


def service_handler(service: ServiceDescriptor, servicer: object, guard: Guard) -> grpc.GenericRpcHandler[Any, Any]:
    """All methods of the service. `servicer.create_pool` answers CreatePool; what it lacks is UNIMPLEMENTED."""
    return grpc.method_handlers_generic_handler(
        service.full_name, {method.name: _method_handler(method, servicer, guard) for method in service.methods}
    )


def handler_of(servicer: object, method: str) -> Any:
    """What answers the method named as in the protos; None if nothing does."""
    return getattr(servicer, _snake(method), None)


def _method_handler(method: MethodDescriptor, servicer: object, guard: Guard) -> Any:
    handler = handler_of(servicer, method.name)
    if handler is None:
        return _refusal(method, guard)
    wrap: Any
    if method.client_streaming:
        wrap, make = guard.receiving, grpc.stream_unary_rpc_method_handler
    elif method.server_streaming:
        wrap, make = guard.streaming, grpc.unary_stream_rpc_method_handler
    else:
        wrap, make = guard.unary, grpc.unary_unary_rpc_method_handler
    return make(
        wrap(method.name, handler),
        request_deserializer=GetMessageClass(method.input_type).FromString,
        response_serializer=GetMessageClass(method.output_type).SerializeToString,
    )


def _refusal(method: MethodDescriptor, guard: Guard) -> Any:
    """A handler that never looks at what it is sent."""
    make = grpc.stream_unary_rpc_method_handler if method.client_streaming else grpc.unary_unary_rpc_method_handler
    return make(guard.refusing(method.name, NotImplementedYet(f"{method.name} is not offered by this version")))


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
