"""`epsilon_greedy`: a ridge regression per arm without optimism; `epsilon` of the choices are uniform.

What the pool's exploration layer explores comes on top; `epsilon_floor:epsilon=0` adds nothing.
"""

from __future__ import annotations

from bandit_router.core.learners.gaussian import RIDGE, check_ridge, fit_gaussian, ridge_prior
from bandit_router.core.learners.protocol import Fitted, Knowledge, Learner, Parameters
from bandit_router.core.spec import SpecError


def _check(parameters: Parameters) -> None:
    check_ridge("epsilon_greedy", parameters)
    if not 0.0 <= parameters["epsilon"] <= 1.0:
        raise SpecError(f"epsilon_greedy:epsilon must be in 0..1, got {parameters['epsilon']:g}")


def _fit(knowledge: Knowledge, parameters: Parameters) -> Fitted:
    prior = ridge_prior(knowledge.state.dimension, parameters)
    return Fitted(fit_gaussian(knowledge, lambda _: prior), uniform_share=parameters["epsilon"])


EPSILON_GREEDY = Learner(defaults={"epsilon": 0.05, **RIDGE}, check=_check, fit=_fit)
