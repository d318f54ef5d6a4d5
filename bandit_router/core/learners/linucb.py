"""`linucb`: a ridge regression per arm, optimistic by `alpha` deviations (disjoint LinUCB; Li et al., 2010)."""

from __future__ import annotations

from bandit_router.core.learners.gaussian import RIDGE, check_ridge, fit_gaussian, ridge_prior
from bandit_router.core.learners.protocol import Fitted, Knowledge, Learner, Parameters


def _check(parameters: Parameters) -> None:
    check_ridge("linucb", parameters)


def _fit(knowledge: Knowledge, parameters: Parameters) -> Fitted:
    prior = ridge_prior(knowledge.state.dimension, parameters)
    return Fitted(fit_gaussian(knowledge, lambda _: prior), alpha=parameters["alpha"])


LINUCB = Learner(defaults={"alpha": 0.1, **RIDGE}, check=_check, fit=_fit)
