"""Names with parameters, as people write them in a pool: 'igw' or 'igw:tau=800' or 'linucb:alpha=0.1,ridge=2'."""

from __future__ import annotations

import math
from collections.abc import Mapping


class SpecError(ValueError):
    """A name or parameter that is not known, or a value that is not a finite number."""


def parse_spec(text: str, known: Mapping[str, Mapping[str, float]]) -> tuple[str, dict[str, float]]:
    """Name and parameters, with the defaults of `known[name]` filled in. Raises SpecError naming what is wrong."""
    name, _, rest = text.partition(":")
    if name not in known:
        raise SpecError(f"{name!r} is not one of {', '.join(sorted(known))}")
    parameters = dict(known[name])
    for item in filter(None, rest.split(",")):
        key, _, value = item.partition("=")
        if key not in parameters:
            raise SpecError(f"{name!r} has no parameter {key!r}; it has {', '.join(sorted(parameters)) or 'none'}")
        parameters[key] = _number(f"{name}:{key}", value)
    return name, parameters


def parse_shares(text: str) -> tuple[str, dict[str, float]]:
    """Name and shares by arm id, as in 'static:small=0.7,large=0.3'; an arm named without a share has share 1.

    Arm ids contain neither ',' nor '='. Raises SpecError.
    """
    name, _, rest = text.partition(":")
    shares: dict[str, float] = {}
    for item in filter(None, rest.split(",")):
        arm_id, _, value = item.partition("=")
        if not arm_id or arm_id in shares:
            raise SpecError(f"{name} must name every arm once, got {item!r}")
        shares[arm_id] = _number(f"{name}:{arm_id}", value or "1")
    return name, shares


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise SpecError(f"{name} must be a number, got {text!r}") from None
    if not math.isfinite(value):
        raise SpecError(f"{name} must be finite, got {text!r}")
    return value
