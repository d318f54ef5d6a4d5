"""A pickle read as data: nothing that it names is ever imported or called.

A pickle is a program: it names classes and functions, calls them, and hands state to what they return. `pickle.load`
runs that program. Here the few names that a pandas table of numpy arrays needs are answered with classes of this
module, which only keep what they were called with, and every other name is refused. So neither numpy nor pandas is
needed to read one, and nothing of either runs on what an unknown file says. Not guarded against: a file made to fill
the memory.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, Self

from bandit_router_sim.logs.errors import UnusableLog


class Inert:
    """A call that a pickle asked for: its arguments, and the state that was handed over afterwards (else None)."""

    __slots__ = ("args", "state")

    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any) -> Self:
        self = super().__new__(cls)
        self.args = args
        self.state = None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state


class Frame(Inert):
    """pandas.DataFrame."""

    __slots__ = ()


class Manager(Inert):
    """The blocks and axes of a frame."""

    __slots__ = ()


class Block(Inert):
    """Columns of one type: (values, placement, dimensions)."""

    __slots__ = ()


class NewIndex(Inert):
    """An axis: (class, {"data": array} or {"start", "stop", "step"})."""

    __slots__ = ()


class IndexKind(Inert):
    """The class of an axis; it is named, never called."""

    __slots__ = ()


class Array(Inert):
    """A numpy array by its state: (version, shape, dtype, is_fortran, bytes or list)."""

    __slots__ = ()


class BufferArray(Inert):
    """A numpy array by its bytes: (buffer, dtype, shape, order)."""

    __slots__ = ()


class ArrayKind(Inert):
    """numpy.ndarray; it is named, never called."""

    __slots__ = ()


class DType(Inert):
    """A numpy type: (code, align, copy), and the byte order in its state."""

    __slots__ = ()


class Scalar(Inert):
    """A numpy scalar: (dtype, bytes)."""

    __slots__ = ()


class Slice(Inert):
    """A slice: (start, stop, step)."""

    __slots__ = ()


ADMITTED: dict[tuple[str, str], type[Inert]] = {
    ("builtins", "slice"): Slice,
    ("pandas", "DataFrame"): Frame,
    ("pandas", "Index"): IndexKind,
    ("pandas", "RangeIndex"): IndexKind,
    ("pandas._libs.internals", "_unpickle_block"): Block,
    ("pandas.core.frame", "DataFrame"): Frame,
    ("pandas.core.indexes.base", "Index"): IndexKind,
    ("pandas.core.indexes.base", "_new_Index"): NewIndex,
    ("pandas.core.indexes.numeric", "Int64Index"): IndexKind,
    ("pandas.core.indexes.range", "RangeIndex"): IndexKind,
    ("pandas.core.internals.managers", "BlockManager"): Manager,
    ("numpy", "dtype"): DType,
    ("numpy", "ndarray"): ArrayKind,
    ("numpy._core.multiarray", "_reconstruct"): Array,
    ("numpy._core.multiarray", "scalar"): Scalar,
    ("numpy._core.numeric", "_frombuffer"): BufferArray,
    ("numpy.core.multiarray", "_reconstruct"): Array,
    ("numpy.core.multiarray", "scalar"): Scalar,
    ("numpy.core.numeric", "_frombuffer"): BufferArray,
}


def read_inert(path: Path) -> Any:
    """What the pickle in the file describes, in numbers, texts, containers and `Inert` calls.

    Raises UnusableLog naming what it asks for beyond `ADMITTED`, or where it is no pickle.
    """
    try:
        with path.open("rb") as file:
            return _InertUnpickler(file, path).load()
    except (UnusableLog, FileNotFoundError):
        raise
    except Exception as error:  # a broken pickle fails in whatever way its opcodes do
        raise UnusableLog(str(path), f"not readable as a pickle of a table: {error}") from error


class _InertUnpickler(pickle.Unpickler):
    def __init__(self, file: Any, path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> type[Inert]:
        """The stand-in of an admitted name. Raises UnusableLog for any other."""
        if (admitted := ADMITTED.get((module, name))) is not None:
            return admitted
        raise UnusableLog(
            str(self._path),
            f"its pickle asks for {module}.{name}, which a table of numbers and plain text does not need: refused, and "
            "nothing was run. If the file is yours, save it again as parquet, or with text columns of dtype object",
        )

    def persistent_load(self, pid: Any) -> Any:
        """Nothing lies outside of the file."""
        del pid
        raise UnusableLog(str(self._path), "its pickle refers to something outside of it: refused")
