"""The operating system's random numbers."""

from __future__ import annotations

import secrets


class SystemEntropy:
    """Unguessable bytes."""

    def token_bytes(self, count: int) -> bytes:
        """`count` fresh random bytes."""
        return secrets.token_bytes(count)
