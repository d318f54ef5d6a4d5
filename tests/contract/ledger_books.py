"""Which window of an account a call's money is in, kept apart from the product: what models of the ledger share."""

from __future__ import annotations

from dataclasses import dataclass

from bandit_router.core.windows import Window


@dataclass(eq=False)
class Book:
    """One window, whatever it is called by now.

    `highest_nusd`: the largest limit that it has had; `untold_nusd`: what trials have set aside, which never refuse.
    """

    window: Window
    limit_nusd: int = 0
    highest_nusd: int = 0
    untold_nusd: int = 0

    def set_limit(self, limit_nusd: int) -> None:
        self.limit_nusd = limit_nusd
        self.highest_nusd = max(self.highest_nusd, limit_nusd)


class Shelf:
    """The windows of an account, by every name; the latest goes on under any name whose time it shares."""

    def __init__(self) -> None:
        self.books: dict[str, Book] = {}
        self.latest: Book | None = None
        self.latest_ms = 0

    def find(self, window: Window) -> Book | None:
        if self.latest is not None and (self.latest.window.name == window.name or shares(self.latest.window, window)):
            return self.latest
        return self.books.get(window.name)

    def use(self, window: Window, now_ms: int, *, opens: bool = True) -> Book | None:
        """The book of a call in this window; a refusal opens none."""
        book = self.find(window)
        if book is None and opens:
            book = Book(window)
            if self.latest is None or self.latest.window.start_ms < window.start_ms:
                self.latest, self.latest_ms = book, now_ms
        if book is None:
            return None
        self.books[window.name] = book
        if book is self.latest and shares(book.window, window) and now_ms >= self.latest_ms and book.window != window:
            book.window, self.latest_ms = window, now_ms
        return book


def shares(one: Window, other: Window) -> bool:
    """Whether two windows have an instant in common."""
    ends = [2**60 if window.end_ms is None else window.end_ms for window in (one, other)]
    return max(one.start_ms, other.start_ms) < min(ends)
