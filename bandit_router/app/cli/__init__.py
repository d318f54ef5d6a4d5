"""The `bandit-router` command."""

from bandit_router.app.cli.root import main

__all__ = ["main"]
