"""The columns of a pickled pandas DataFrame, read without pandas.

A frame is a manager of blocks: arrays (columns of one type, rows), each with the places of its columns, beside two
axes: names of columns, and rows. Pickles of pandas 1.3 and later hand the manager (blocks, axes); earlier ones a state
with the same two under "0.14.1".
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bandit_router_sim.logs.converters.inert_pickle import (
    Array,
    Block,
    BufferArray,
    DType,
    Frame,
    Manager,
    NewIndex,
    Scalar,
    Slice,
    read_inert,
)
from bandit_router_sim.logs.errors import UnusableLog
from bandit_router_sim.logs.tables import Table

PLAIN_TYPE = re.compile(r"[biuf][1248]")
MAX_COLUMNS = 100_000
OBJECT_TYPES = ("O", "O8", "O4")
AnyArray = npt.NDArray[Any]


def read_frame(path: Path) -> Table:
    """The frame pickled in the file. Raises UnusableLog where it is none, or asks for more than tables need."""
    root = read_inert(path)
    try:
        return _table(str(path), root)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UnusableLog(str(path), f"not a pickled DataFrame of a known layout: {error}") from error


def _table(file: str, root: Any) -> Table:
    blocks, axes = _parts(root)
    names = _index_values(axes[0])
    length = _index_length(axes[1])
    columns: dict[str, Any] = {}
    for values, placement in blocks:
        places = _places(placement, len(names))
        for row, place in zip(_array(values).reshape(len(places), length), places, strict=True):
            columns[str(names[place])] = [_plain(value) for value in row.tolist()]
    return Table(file, length, {str(name): columns[str(name)] for name in names})


def _parts(root: Any) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """(values, placement) of every block, and the two axes."""
    _expect(root, Frame)
    manager = root.state["_mgr"] if "_mgr" in root.state else root.state["_data"]
    _expect(manager, Manager)
    if manager.args:
        blocks, axes = manager.args
        for block in blocks:
            _expect(block, Block)
        return [(block.args[0], block.args[1]) for block in blocks], list(axes)
    state = manager.state[3]["0.14.1"]
    return [(block["values"], block["mgr_locs"]) for block in state["blocks"]], list(state["axes"])


def _index_values(axis: Any) -> list[Any]:
    _expect(axis, NewIndex)
    described = axis.args[1]
    values = range(described["start"], described["stop"], described["step"]) if "start" in described else None
    if values is not None and len(values) > MAX_COLUMNS:
        raise ValueError(f"{len(values)} columns; at most {MAX_COLUMNS}")
    return [_plain(value) for value in (_array(described["data"]).tolist() if values is None else values)]


def _index_length(axis: Any) -> int:
    """The length of an axis, without making it."""
    _expect(axis, NewIndex)
    described = axis.args[1]
    if "data" in described:
        return int(_array(described["data"]).size)
    return len(range(described["start"], described["stop"], described["step"]))


def _places(placement: Any, count: int) -> list[int]:
    """Columns of a block: a slice, or an array of places."""
    if isinstance(placement, Slice):
        return list(range(*slice(*placement.args).indices(count)))
    return [int(place) for place in _array(placement).tolist()]


def _array(node: Any) -> AnyArray:
    """The array that a node describes; only plain numbers, and objects that came as a list."""
    if isinstance(node, BufferArray):
        data, kind, shape, order = node.args
    else:
        _expect(node, Array)
        _, shape, kind, is_fortran, data = node.state
        order = "F" if is_fortran else "C"
    if kind.args[0] in OBJECT_TYPES:
        flat, order = _objects(data), "C"  # numpy lists objects row by row whatever their order in memory
    else:
        flat = _numbers(kind, data)
    if math.prod(shape) != flat.size:
        raise ValueError(f"an array of shape {shape} holds {flat.size} values")
    return flat.reshape(shape, order=order)


def _objects(data: Any) -> AnyArray:
    if not isinstance(data, list):
        raise TypeError("objects came as bytes")
    flat = np.empty(len(data), dtype=object)
    for index, value in enumerate(data):
        flat[index] = value
    return flat


def _numbers(kind: Any, data: Any) -> AnyArray:
    """The numbers in `data`, of the type that `kind` describes."""
    _expect(kind, DType)
    if not isinstance(data, bytes | bytearray):
        raise TypeError(f"numbers came as a {type(data).__name__}")
    code, order = kind.args[0], kind.state[1]
    if not (isinstance(code, str) and PLAIN_TYPE.fullmatch(code)) or order not in ("<", ">", "|", "="):
        raise ValueError(f"numbers of type {code!r}")
    return np.frombuffer(data, dtype=np.dtype(f"{order}{code}"))


def _plain(value: Any) -> Any:
    """Numbers and texts as they are, numpy scalars as numbers; None for NaN, which is how pandas has a null."""
    if isinstance(value, Scalar):
        value = _numbers(*value.args)[0].item()
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(f"a cell holds a {type(value).__name__}")


def _expect(node: Any, kind: type) -> None:
    if not isinstance(node, kind):
        raise TypeError(f"expected {kind.__doc__} found {type(node).__name__}")
