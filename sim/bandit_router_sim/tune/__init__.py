"""Tuning on logs: which budget, which settings, and what other limits would have brought.

`budget`          the quality of each budget, and the budget of a wanted quality
`policy_search`   settings of a pool, searched on one split and reported on another
`counterfactual`  a decision log lived through again under other limits, arms and prices
"""
