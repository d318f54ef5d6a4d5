"""`lints`: posterior sampling (linear Thompson sampling; Agrawal and Goyal, 2013).

The learner gives posterior means and `v` times posterior standard deviations, in units of reward, by the noise seen at
each arm. The sampling is done by the layer `ts_empirical`, whose probabilities are exact: the reward of an arm at x
under a sampled θ is normal with just this mean and deviation. Under another layer it is a greedy learner.
"""

from __future__ import annotations

from bandit_router.core.learners.gaussian import RIDGE, GaussianRewards, check_ridge, fit_gaussian, ridge_prior
from bandit_router.core.learners.protocol import Fitted, Knowledge, Learner, Parameters
from bandit_router.core.spec import SpecError


def _check(parameters: Parameters) -> None:
    check_ridge("lints", parameters)
    if parameters["v"] < 0.0:
        raise SpecError(f"lints:v must not be negative, got {parameters['v']:g}")


def _fit(knowledge: Knowledge, parameters: Parameters) -> Fitted:
    prior = ridge_prior(knowledge.state.dimension, parameters)
    found = fit_gaussian(knowledge, lambda _: prior)
    widths = (parameters["v"] ** 2 * found.noise)[:, None, None]
    return Fitted(GaussianRewards(found.mean, widths * found.covariance, found.noise))


LINTS = Learner(defaults={"v": 1.0, **RIDGE}, check=_check, fit=_fit)
