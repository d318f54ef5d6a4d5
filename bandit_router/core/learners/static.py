"""`static`: a fixed arm or a fixed mix, whatever the query and whatever money costs.

'static:large' always chooses that arm, 'static:small=0.7,large=0.3' mixes, 'static' alone takes all arms alike. Shares
are taken over the arms that may be chosen: where none of the named arms is among them, all others are alike. Rewards
are predicted as `linucb` does, for the quotes.
"""

from __future__ import annotations

import numpy as np

from bandit_router.core.learners.gaussian import RIDGE, fit_gaussian, ridge_prior
from bandit_router.core.learners.protocol import Fitted, Knowledge, Learner, Parameters
from bandit_router.core.spec import SpecError


def _check(parameters: Parameters) -> None:
    for arm_id, share in parameters.items():
        if share <= 0.0:
            raise SpecError(f"static:{arm_id} must have a positive share, got {share:g}")


def _fit(knowledge: Knowledge, parameters: Parameters) -> Fitted:
    prior = ridge_prior(knowledge.state.dimension, RIDGE)
    everyone = 0.0 if parameters else 1.0
    shares = np.array([parameters.get(arm_id, everyone) for arm_id in knowledge.arm_ids], dtype=np.float64)
    return Fitted(fit_gaussian(knowledge, lambda _: prior), shares=shares)


STATIC = Learner(defaults={}, check=_check, fit=_fit, names_arms=True)
