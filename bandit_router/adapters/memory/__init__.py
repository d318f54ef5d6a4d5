"""Stores, clock and entropy without anything outside the process."""

from bandit_router.adapters.memory.clock import ManualClock
from bandit_router.adapters.memory.entropy import SeededEntropy
from bandit_router.adapters.memory.store import MemoryStore

__all__ = ["ManualClock", "MemoryStore", "SeededEntropy"]
