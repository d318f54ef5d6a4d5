"""Whether a stored decision was drawn as it says: probabilities, draws and propensities worked out once more.

From the record alone: the quotes' scores, the scale of the exploration, the seed and the key, and what was free just
before the hold. Inverse-gap weights come from a bisection here (from Newton's method in the product), the draw from
the hash as documented, and the propensity from walking through all the arms that could have been drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import blake2b

from bandit_router.core.decision import Decision, Reason, Round
from bandit_router_sim.world.failure import Violation

TOLERANCE = 1e-9
_BISECTIONS = 60


def check_decision(decision: Decision, *, free_nusd: int) -> dict[str, float]:
    """The exact propensities of a decision; raises Violation if it cannot have been drawn as recorded."""
    if decision.reason is Reason.FALLBACK:
        return _check_fallback(decision)
    _check_first_arms(decision)
    for number, draw in enumerate(decision.rounds):
        _check_probabilities(decision, draw)
        drawn = draw.arms[_select(draw.probabilities, _uniform(decision, number))]
        is_last = number == len(decision.rounds) - 1
        if is_last and drawn != decision.chosen:
            raise Violation(f"{decision.decision_id}: the draw gives arm {drawn}, chosen was {decision.chosen}")
        if not is_last:
            _check_shrunk(decision, drawn, draw.arms, decision.rounds[number + 1].arms)
    return _propensities(decision, free_nusd=free_nusd)


def weights_of(scores: Sequence[float], scale: float) -> list[float]:
    """p_a = 1 / (ζ + scale · (max g − g_a)) with ζ such that they sum to 1, by bisection."""
    best = max(scores)
    low, high = 0.0, float(len(scores))
    for _ in range(_BISECTIONS):
        zeta = 0.5 * (low + high)
        total = sum(1.0 / max(zeta + scale * (best - score), 1e-300) for score in scores)
        low, high = (zeta, high) if total > 1.0 else (low, zeta)
    return [1.0 / (high + scale * (best - score)) for score in scores]


def _check_fallback(decision: Decision) -> dict[str, float]:
    if decision.rounds != (Round((decision.chosen,), (1.0,)),) or decision.hold_nusd != 0:
        raise Violation(f"{decision.decision_id}: a fallback must be certain and free, got {decision.rounds}")
    if decision.quote.excluded_because:
        raise Violation(f"{decision.decision_id}: the fallback is excluded ({decision.quote.excluded_because})")
    return {decision.arm_id: 1.0}


def _check_first_arms(decision: Decision) -> None:
    allowed = tuple(index for index, quote in enumerate(decision.quotes) if not quote.excluded_because)
    if decision.rounds[0].arms != allowed:
        raise Violation(f"{decision.decision_id}: first draw over {decision.rounds[0].arms}, allowed are {allowed}")


def _check_shrunk(decision: Decision, drawn: int, arms: Sequence[int], rest: Sequence[int]) -> None:
    """The next round has exactly the arms of this one whose hold is small enough, and not the one that was drawn."""
    largest = max(decision.quotes[arm].hold_nusd for arm in rest)
    fitting = tuple(arm for arm in arms if decision.quotes[arm].hold_nusd <= largest)
    if drawn in rest or fitting != tuple(rest):
        raise Violation(f"{decision.decision_id}: drew {drawn} of {arms}, then over {rest}")


def _check_probabilities(decision: Decision, draw: Round) -> None:
    expected = weights_of([decision.quotes[arm].score for arm in draw.arms], decision.exploration.scale)
    for told, right in zip(draw.probabilities, expected, strict=True):
        if not math.isclose(told, right, abs_tol=TOLERANCE):
            raise Violation(f"{decision.decision_id}: probabilities {draw.probabilities}, should be {expected}")


def _uniform(decision: Decision, number: int) -> float:
    key = decision.request_id or decision.decision_id
    seed = decision.seed.to_bytes(8, "little", signed=True)
    digest = blake2b(f"{number}:{key}".encode(), digest_size=8, key=seed).digest()
    return (int.from_bytes(digest, "little") >> 11) / 2**53


def _select(probabilities: Sequence[float], draw: float) -> int:
    """Index of the arm whose stretch of [0, 1) contains the draw."""
    for index in range(len(probabilities)):
        if draw < sum(probabilities[: index + 1]):
            return index
    return max(index for index, probability in enumerate(probabilities) if probability > 0.0)


def _propensities(decision: Decision, *, free_nusd: int) -> dict[str, float]:
    """By walking through the procedure: an arm drawn in a round counts if it is in the next, else the next decides."""
    last = decision.rounds[-1].arms
    fitting = last if decision.shadow else tuple(a for a in last if decision.quotes[a].hold_nusd <= free_nusd)
    if decision.chosen not in fitting:
        raise Violation(f"{decision.decision_id}: its hold {decision.hold_nusd} did not fit in {free_nusd}")
    scores = [decision.quotes[arm].score for arm in fitting]
    virtual = Round(fitting, tuple(weights_of(scores, decision.exploration.scale)))
    rounds = (*decision.rounds, virtual)

    def chosen_from(number: int, arm: int) -> float:
        draw = dict(zip(rounds[number].arms, rounds[number].probabilities, strict=True))
        if number == len(rounds) - 1:
            return draw.get(arm, 0.0)
        following = rounds[number + 1].arms
        again = sum(probability for other, probability in draw.items() if other not in following)
        return (draw.get(arm, 0.0) if arm in following else 0.0) + again * chosen_from(number + 1, arm)

    found = {quote.arm_id: chosen_from(0, index) for index, quote in enumerate(decision.quotes)}
    return {arm_id: probability for arm_id, probability in found.items() if probability > 0.0}
