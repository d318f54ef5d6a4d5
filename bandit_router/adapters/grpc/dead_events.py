"""ListDeadEvents and RedriveEvents."""

from __future__ import annotations

from bandit_router.adapters.grpc.wire import timestamp
from bandit_router.adapters.grpc.wire_events import event, position
from bandit_router.ports.snapshots import DeadLetter
from bandit_router.service.assembly import Services
from bandit_router.v1 import admin_pb2 as pb
from bandit_router.v1 import events_pb2

DEFAULT_PAGE = 100


class DeadEvents:
    """What could not be learned."""

    def __init__(self, services: Services) -> None:
        self._directory = services.directory
        self._snapshots = services.store.snapshots

    async def list(self, request: pb.ListDeadEventsRequest) -> pb.ListDeadEventsResponse:
        """A page of dead events. Raises ResourceNotFound."""
        await self._directory.pool(request.pool_id)
        size = request.page_size or DEFAULT_PAGE
        letters = await self._snapshots.letters(request.pool_id, after_id=request.page_token, limit=size + 1)
        page = letters[:size]
        return pb.ListDeadEventsResponse(
            events=[_dead_event(letter) for letter in page],
            next_page_token=page[-1].letter_id if len(letters) > size else "",
        )

    async def redrive(self, request: pb.RedriveEventsRequest) -> pb.RedriveEventsResponse:
        """Ask the learner for another try. Raises ResourceNotFound."""
        await self._directory.pool(request.pool_id)
        await self._snapshots.redrive(request.pool_id)
        return pb.RedriveEventsResponse()


def _dead_event(letter: DeadLetter) -> pb.DeadEvent:
    return pb.DeadEvent(
        position=position(letter.entry),
        reason=letter.reason,
        died_at=timestamp(letter.died_ms),
        tries=letter.tries,
        event=_readable(letter),
    )


def _readable(letter: DeadLetter) -> events_pb2.Event | None:
    try:
        return event(letter.entry)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
