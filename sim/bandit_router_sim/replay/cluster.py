"""Work spread over processes: of this machine (loky), or of a Ray or Dask cluster, by joblib's backends.

Ray and Dask are started on this machine unless their own settings name a running cluster (RAY_ADDRESS,
DASK_SCHEDULER_ADDRESS); a cluster that was started here is stopped at the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from joblib import Parallel, delayed, effective_n_jobs, parallel_config

BACKENDS = ("loky", "ray", "dask")
_ITEMS_PER_JOB = 4
"""Where a backend hands back whole lists only: so many items for each process at a time."""

T = TypeVar("T")
R = TypeVar("R")


class ClusterMissing(ValueError):
    """The library of the cluster is not installed; the message says how to get it."""


def spread(
    function: Callable[[T], R], items: Sequence[T], *, jobs: int = -1, backend: str = "loky"
) -> Iterator[tuple[int, R]]:
    """(position, result) of every item, in the order in which they are finished. Raises ClusterMissing.

    What the function carries along (a whole log) is sent to a cluster's machines once, not with every item.
    """
    assert backend in BACKENDS, backend
    if not items:
        return
    numbered = list(enumerate(items))
    with _cluster(backend, jobs), parallel_config(**_options(function, backend, jobs)):
        if backend != "ray":
            yield from Parallel(return_as="generator_unordered")(_calls(function, numbered))
            return
        stored = _Stored(function)
        size = _ITEMS_PER_JOB * effective_n_jobs(jobs)
        for start in range(0, len(numbered), size):
            yield from Parallel()(_calls(stored, numbered[start : start + size]))


class _Stored:
    """A function in Ray's object store, called where the items are."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        import ray

        self._reference = ray.put(function)

    def __call__(self, item: object) -> Any:
        import ray

        return ray.get(self._reference)(item)


def _calls(function: Callable[[T], R], numbered: Sequence[tuple[int, T]]) -> Iterator[Any]:
    return itertools.starmap(delayed(_numbered), ((function, number, item) for number, item in numbered))


def _numbered(function: Callable[[T], R], number: int, item: T) -> tuple[int, R]:
    return number, function(item)


def _options(function: object, backend: str, jobs: int) -> dict[str, Any]:
    """Workers of this machine compute with one thread each; in a cluster that is the cluster's business."""
    if backend == "dask":
        return {"backend": backend, "n_jobs": jobs, "scatter": [function]}
    threads = 1 if backend == "loky" and jobs != 1 else None
    return {"backend": backend, "n_jobs": jobs, "inner_max_num_threads": threads}


@contextmanager
def _cluster(backend: str, jobs: int) -> Iterator[None]:
    try:
        if backend == "ray":
            with _ray(jobs):
                yield
        elif backend == "dask":
            with _dask(jobs):
                yield
        else:
            yield
    except ModuleNotFoundError as missing:
        raise ClusterMissing(f"backend {backend} needs {missing.name}: pip install 'bandit-router[cluster]'") from None


@contextmanager
def _ray(jobs: int) -> Iterator[None]:
    import ray
    from ray.util.joblib import register_ray

    register_ray()
    if ray.is_initialized():
        yield
        return
    ray.init(log_to_driver=False, num_cpus=jobs if jobs > 0 else None)
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _dask(jobs: int) -> Iterator[None]:
    from distributed import Client

    with Client(n_workers=jobs if jobs > 0 else None, threads_per_worker=1, dashboard_address=None):
        yield
