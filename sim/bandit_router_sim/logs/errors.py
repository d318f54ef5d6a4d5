"""What can be wrong with a log file: one of its rows, or the file as a whole."""

from __future__ import annotations


class LogError(ValueError):
    """Base of both; `file` names the log as the caller named it."""

    def __init__(self, file: str, message: str) -> None:
        super().__init__(message)
        self.file = file


class BadRow(LogError):
    """A row breaks a rule. `row` is 1-based, a CSV header not counted; `found` is never text of the log."""

    def __init__(self, file: str, *, row: int, column: str, rule: str, found: str = "") -> None:
        tail = f"; found {found}" if found else ""
        super().__init__(file, f"{file}: row {row}, column {column!r}: {rule}{tail}")
        self.row = row
        self.column = column
        self.rule = rule
        self.found = found


class UnusableLog(LogError):
    """The file as a whole cannot serve: `reason` says why and, where there is one, the way out."""

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, f"{file}: {reason}")
        self.reason = reason
