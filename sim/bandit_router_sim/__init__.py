"""The simulator of bandit-router: replays logs through the product's own services, and evaluates policies offline."""
