"""How many further calls the money of a window has to last for."""

from __future__ import annotations

_PACE_FLOOR_CALLS = 100
"""A window of unknown length is assumed to bring at least this many further calls."""


def calls_left(*, expected_calls: int, decisions: int, elapsed_ms: int | None, remaining_ms: int | None) -> float:
    """How many further calls the money has to last for.

    Declared demand counts down. Without a declaration, or beyond it, a window that ends is extrapolated at its own
    rate so far; a fixed total, whose end nobody knows, is expected to bring as many calls again as it has brought (the
    Lindy estimate), so the money left is never staked on the next few calls.
    """
    if expected_calls > decisions:
        return float(expected_calls - decisions)
    seen = max(decisions, _PACE_FLOOR_CALLS)
    if remaining_ms is None or elapsed_ms is None or elapsed_ms <= 0:
        return float(seen)
    return max(1.0, seen * remaining_ms / elapsed_ms)
