"""Which schema version the store needs, as far as this replica has been told, and what it must not do behind that.

Newer code raises the store's version before it stores what older code would misread. A replica of older code that runs
on learns of it from the change feed, which it reads several times a second, and from then on answers no call, decides
and settles nothing and learns nothing: another replica, or this one with newer code, can.
"""

from __future__ import annotations

from bandit_router.core.errors import StateUnreadable
from bandit_router.core.schema import SCHEMA_VERSION
from bandit_router.ports.observer import Observer


class SchemaWatch:
    """Compares what the store needs with what this code knows. What has been told once is not forgotten."""

    def __init__(self, observer: Observer, *, known: int = SCHEMA_VERSION) -> None:
        self._observer = observer
        self._known = known
        self._needed = 0

    @property
    def is_readable(self) -> bool:
        """Whether this code can read all that is in the store."""
        return self._needed <= self._known

    def told(self, needed: int) -> None:
        """The store needs this version, 0: it does not say."""
        was_readable = self.is_readable
        self._needed = max(self._needed, needed)
        if was_readable and not self.is_readable:
            self._observer.note("schema_too_new", needs=self._needed, known=self._known)

    def check(self) -> None:
        """Raises StateUnreadable if newer code has stored what this code would misread."""
        if not self.is_readable:
            raise StateUnreadable.of_store(needs=self._needed, known=self._known)
