"""Independent runs on all cores, in order, with progress on standard error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from joblib import Parallel, delayed, parallel_config
from rich.console import Console
from rich.progress import track

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_all(
    run: Callable[[Task], Result], tasks: Sequence[Task], *, jobs: int, label: str, console: Console | None
) -> list[Result]:
    """The results in the order of the tasks. Without a console nothing is shown."""
    with parallel_config(backend="loky", n_jobs=jobs, inner_max_num_threads=1):
        results = Parallel(return_as="generator")(delayed(run)(task) for task in tasks)
        if console is None:
            return list(results)
        return list(track(results, total=len(tasks), description=label, console=console))
