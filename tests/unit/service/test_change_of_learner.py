from __future__ import annotations

import numpy as np

from tests.builders import make_pool
from tests.unit.service.test_learning import assert_learned_exactly_once, stored_state, teach
from tests.unit.service.worlds import open_world


async def test_a_pool_that_goes_over_to_another_learner_learns_on_from_what_it_knows() -> None:
    world = await open_world(pool=make_pool(learner="linucb"))
    await teach(world, 20)
    await world.services.learner.step("pool")
    assert (await stored_state(world)).discounted.arms == {}
    for learner, gamma in (("dlinucb:gamma=0.9", 0.9), ("dlinucb:gamma=0.5", 0.5), ("linucb", 0.0)):
        await world.services.admin.update_pool(make_pool(learner=learner), etag="", dry_run=False)
        served = await world.services.models.served("pool")
        assert np.isfinite(served.model.predict(np.ones((1, served.model.dimension))).reward).all()
        before = await stored_state(world)
        reply = await world.route(f"for {learner}", request_id=learner)
        await world.settle(reply, output_tokens=70, reward=0.5)
        await world.services.learner.step("pool")
        state = await stored_state(world)
        assert state.discounted.gamma == gamma
        assert state.discounted.floor == (before.rewards if gamma else 0)
        await assert_learned_exactly_once(world)
