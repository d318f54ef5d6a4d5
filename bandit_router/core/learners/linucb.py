"""`linucb`: a ridge regression per arm, optimistic by `alpha` deviations (disjoint LinUCB; Li et al., 2010).

An arm with an imported prior starts from it, as far as its rewards bear it out.
"""

from __future__ import annotations

from bandit_router.core.learners.gaussian import RIDGE, check_ridge, fit_gaussian, ridge_prior, trusted_priors
from bandit_router.core.learners.protocol import Fitted, Knowledge, Learner, Parameters


def _check(parameters: Parameters) -> None:
    check_ridge("linucb", parameters)


def _fit(knowledge: Knowledge, parameters: Parameters) -> Fitted:
    ridge = ridge_prior(knowledge.state.dimension, parameters)
    trusted = trusted_priors(knowledge, ridge)
    return Fitted(fit_gaussian(knowledge, lambda arm_id: trusted.get(arm_id, ridge)), alpha=parameters["alpha"])


LINUCB = Learner(defaults={"alpha": 0.1, **RIDGE}, check=_check, fit=_fit)
