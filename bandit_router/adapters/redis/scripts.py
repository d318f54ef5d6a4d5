"""Commands, and the Lua scripts among them: `lua/*.lua`, each headed by its KEYS, ARGV and returns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

Argument = bytes | str | int


@dataclass(frozen=True, slots=True)
class Command:
    """One command on the wire. `key` decides the cluster node; `script` is set for an EVALSHA."""

    args: tuple[Argument, ...]
    key: str
    script: Script | None = None

    def with_source(self) -> Command:
        """The same script call with its text, for a server that does not know it yet (and then does)."""
        assert self.script is not None
        return Command(("EVAL", self.script.source, *self.args[2:]), self.key)


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the digest that a server knows it by."""

    source: str
    sha: str

    def on(self, keys: Sequence[str], *args: Argument) -> Command:
        """The call of this script on `keys`, which must share a hash slot."""
        return Command(("EVALSHA", self.sha, len(keys), *keys, *args), keys[0], self)


def plain(name: str, key: str, *args: Argument) -> Command:
    """A command whose first argument is its key."""
    return Command((name, key, *args), key)


def _load(*names: str) -> Script:
    folder = files(__package__) / "lua"
    source = "\n".join((folder / f"{name}.lua").read_text() for name in names)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


OPEN_ACCOUNT = _load("open_account")
CLOSE_ACCOUNT = _load("close_account")
HOLD = _load("window", "hold")
COMMIT = _load("commit")
DROP_DEFAULT = _load("drop_default")
BUDGET = _load("window", "budget")
EDIT_BUDGET = _load("window", "edit_budget")
LEASE_ACQUIRE = _load("lease_acquire")
LEASE_RELEASE = _load("lease_release")
EVENTS_TRIM = _load("events_trim")
EVENTS_HAS = _load("events_has")
SNAPSHOT_SAVE = _load("snapshot_save")
SCHEMA_RAISE = _load("schema_raise")
CATALOG_PUT = _load("document", "catalog_put")
CATALOG_DELETE = _load("document", "catalog_delete")
CATALOG_LIST = _load("catalog_list")
CATALOG_CHANGES = _load("catalog_changes")
