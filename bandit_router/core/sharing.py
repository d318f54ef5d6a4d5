"""What the arms of a pool tell about each other: a prior for each arm from the sums of all.

With many arms and few outcomes each, separate regressions start from nothing arm by arm. But how the target moves with
the context is much alike across arms: a prompt that asks for a long answer does so of every model. So the slopes are
first learned from all arms at once, in closed form from the same additive sums: with an intercept per arm profiled out
(each shrunk to its prior level), the pooled normal equations give

    w = (Σ_a S_a + ρI)⁻¹ Σ_a s_a,      S_a, s_a: the arm's sums, centred

and each arm is then shrunk towards w instead of towards zero (hierarchical shrinkage; Gelman et al., Bayesian Data
Analysis, ch. 5 and 15).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bandit_router.core.regression import FloatArray, RegressionSums


def common_slopes(arms: Sequence[RegressionSums], *, level: float, bias_precision: float, ridge: float) -> FloatArray:
    """Slopes (d − 1,) shared by all arms; coordinate 0 of the sums is the intercept. At least one arm."""
    size = len(arms[0].moment) - 1
    gram, moment = ridge * np.eye(size), np.zeros(size)
    for sums in arms:
        weight = sums.count + bias_precision
        x_sum, y_sum = sums.gram[0, 1:], sums.moment[0] + bias_precision * level
        gram += sums.gram[1:, 1:] - np.multiply.outer(x_sum, x_sum) / weight
        moment += sums.moment[1:] - x_sum * (y_sum / weight)
    return np.asarray(np.linalg.solve(gram, moment), dtype=np.float64)
