"""What the machine gives: time, randomness, and a server process."""

from bandit_router.adapters.system.clock import SystemClock
from bandit_router.adapters.system.datadir import DataDirectoryInUse
from bandit_router.adapters.system.embedded import EmbeddedServer, EmbeddedServerError, Fsync
from bandit_router.adapters.system.entropy import SystemEntropy

__all__ = ["DataDirectoryInUse", "EmbeddedServer", "EmbeddedServerError", "Fsync", "SystemClock", "SystemEntropy"]
