"""Comparisons of policies, peers and references on the same data, order, features and budgets."""
