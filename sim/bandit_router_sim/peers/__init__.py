"""Other people's routers and bandits, run as themselves on the same data, order and budgets as the product."""
