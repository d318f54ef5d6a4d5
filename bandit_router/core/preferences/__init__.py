"""Priors from preferences and scores: Bradley-Terry with Laplace, absolute anchors, ridge, learned projections."""
