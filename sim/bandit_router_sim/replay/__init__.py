"""Replay of full-information logs through the product's own services, on memory stores and a virtual clock."""
