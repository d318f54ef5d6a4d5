"""Any method of the services by name, with requests and responses as JSON documents. For scripts and the commands.

Field names are those of the protos; 64-bit integers come back as strings, as JSON of protobuf prescribes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Self

import grpc
from google.protobuf import json_format
from google.protobuf.message import Message

from bandit_router.adapters.grpc.errors import from_rpc_error
from bandit_router.core.errors import InvalidRequest
from bandit_router.v1 import admin_pb2, admin_pb2_grpc, router_pb2, router_pb2_grpc

DEFAULT_TIMEOUT_S = 10.0
UPLOAD_TIMEOUT_S = 60.0
CHUNK_BYTES = 256 * 1024
Document = dict[str, Any]


class JsonClient:
    """A synchronous client of every method of RouterService and AdminService."""

    def __init__(self, target: str, *, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._channel = grpc.insecure_channel(target)
        self._router = router_pb2_grpc.RouterServiceStub(self._channel)
        self._admin = admin_pb2_grpc.AdminServiceStub(self._channel)

    def call(self, method: str, request: Mapping[str, Any]) -> Document:
        """The response of a unary method. Raises RouterError; InvalidRequest for a field that does not exist."""
        send = getattr(self._router, method, None) or getattr(self._admin, method)
        try:
            return _document(send(_message(method, request), timeout=self._timeout_s))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def import_prior(self, pool_id: str, data: bytes, *, dry_run: bool = False) -> Document:
        """Give a pool the prior that `prior fit` wrote. Raises RouterError."""
        header = admin_pb2.PriorHeader(pool_id=pool_id, format=admin_pb2.PRIOR_FORMAT_FITTED, dry_run=dry_run)
        try:
            return _document(self._admin.ImportPrior(prior_parts(header, data), timeout=UPLOAD_TIMEOUT_S))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def stream(self, method: str, request: Mapping[str, Any]) -> Iterator[Document]:
        """The responses of a server-streaming method, which may take any time. Raises RouterError."""
        try:
            for response in getattr(self._admin, method)(_message(method, request)):
                yield _document(response)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def upload(self, method: str, requests: Iterable[Mapping[str, Any]]) -> Document:
        """The response of a client-streaming method, which may take any time. Raises RouterError."""
        try:
            return _document(getattr(self._admin, method)(_message(method, request) for request in requests))
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def prior_parts(header: admin_pb2.PriorHeader, data: bytes) -> Iterator[admin_pb2.ImportPriorRequest]:
    """The stream that ImportPrior takes."""
    yield admin_pb2.ImportPriorRequest(header=header)
    for start in range(0, len(data), CHUNK_BYTES):
        piece = data[start : start + CHUNK_BYTES]
        chunk = admin_pb2.Chunk(offset_bytes=start, data=piece, sha256=sha256(piece).digest())
        yield admin_pb2.ImportPriorRequest(chunk=chunk)
    trailer = admin_pb2.Trailer(size_bytes=len(data), sha256=sha256(data).digest())
    yield admin_pb2.ImportPriorRequest(trailer=trailer)


def _message(method: str, request: Mapping[str, Any]) -> Message:
    name = f"{method}Request"
    kind = getattr(router_pb2, name, None) or getattr(admin_pb2, name)
    try:
        message: Message = json_format.ParseDict(dict(request), kind())
    except json_format.ParseError as error:
        raise InvalidRequest.of("request", str(error)) from None
    return message


def _document(response: Message) -> Document:
    document: Document = json_format.MessageToDict(
        response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return document
