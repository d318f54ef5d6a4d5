"""Stores in Redis or Valkey."""

from bandit_router.adapters.redis.store import RedisStore, connect

__all__ = ["RedisStore", "connect"]
