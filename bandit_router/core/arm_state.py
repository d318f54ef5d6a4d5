"""What is learned of one arm: additive sums of rewards and of output tokens."""

from __future__ import annotations

from dataclasses import dataclass

from bandit_router.core.regression import RegressionSums


@dataclass(slots=True, eq=False)
class ArmState:
    """Sums of one arm: reward on context, and ln(output tokens) on context; `settled` counts outcomes that ended."""

    reward: RegressionSums
    tokens: RegressionSums
    settled: int = 0

    @classmethod
    def empty(cls, dimension: int) -> ArmState:
        """An arm that has never been observed."""
        return cls(RegressionSums.zeros(dimension), RegressionSums.zeros(dimension))

    def copy(self) -> ArmState:
        """An independent copy."""
        return ArmState(self.reward.copy(), self.tokens.copy(), self.settled)


Arms = dict[str, ArmState]
"""Arms by id."""


def copy_arms(arms: Arms) -> Arms:
    """Independent copies."""
    return {arm_id: arm.copy() for arm_id, arm in arms.items()}
