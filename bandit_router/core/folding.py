"""Folding one stored event into a pool's state, and what may be wrong with it."""

from __future__ import annotations

from dataclasses import dataclass

from bandit_router.core.codec import decode_decision, decode_outcome
from bandit_router.core.decision import Decision
from bandit_router.core.outcomes import milestones
from bandit_router.core.pool_state import MismatchedContext, PoolState, learn


class Unlearnable(ValueError):
    """The event cannot be folded into this state, which is untouched. The message says why."""


class Outdated(Unlearnable):
    """The event's context is in coordinates that the pool has left, or of another pool that had its name before.

    It means nothing any more, and never will.
    """


@dataclass(frozen=True, slots=True)
class Folded:
    """What an event has told: about which arm, and what happened for the first time (`outcomes.milestones`)."""

    arm_id: str
    milestones: tuple[str, ...]


def fold(state: PoolState, decision: bytes, before: bytes, after: bytes) -> Folded:
    """Fold an encoded event into `state` in place. Raises Unlearnable, Outdated."""
    try:
        made, earlier, later = decode_decision(decision), decode_outcome(before), decode_outcome(after)
    except (ValueError, LookupError, TypeError, AttributeError) as fault:
        raise Unlearnable(f"the event cannot be read: {type(fault).__name__}: {fault}") from fault
    try:
        learn(state, made, earlier, later)
    except MismatchedContext as mismatch:
        raise (Outdated if _is_outdated(state, made) else Unlearnable)(str(mismatch)) from mismatch
    return Folded(made.arm_id, milestones(earlier, later))


def coordinates_of(decision: bytes) -> int:
    """Version of the projection that the event's context was made with; 0 for bytes that cannot be read."""
    try:
        return decode_decision(decision).projection_version
    except (ValueError, LookupError, TypeError, AttributeError):
        return 0


def _is_outdated(state: PoolState, decision: Decision) -> bool:
    is_left_behind = decision.projection_version < state.projection_version
    return is_left_behind or 0 < decision.pool_generation < state.generation
