"""The whole service from one seed: replicas, tenants, faults and interleaving, watched by independent checkers."""
