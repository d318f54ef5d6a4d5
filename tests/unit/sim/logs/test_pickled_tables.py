from __future__ import annotations

import contextlib
import copyreg
import io
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandit_router_sim.logs.converters import CONVERTERS
from bandit_router_sim.logs.converters.pandas_pickle import read_frame
from bandit_router_sim.logs.errors import LogError, UnusableLog
from bandit_router_sim.logs.full import FullLog

routerbench = CONVERTERS["routerbench"]

# what newer pandas and numpy call things, and what those of early 2024 did
OLD_NAMES = {
    b"cpandas\nDataFrame\n": b"cpandas.core.frame\nDataFrame\n",
    b"cpandas\nIndex\n": b"cpandas.core.indexes.base\nIndex\n",
    b"cpandas\nRangeIndex\n": b"cpandas.core.indexes.range\nRangeIndex\n",
    b"cnumpy._core.multiarray\n": b"cnumpy.core.multiarray\n",
    b"c__builtin__\nslice\n": b"cbuiltins\nslice\n",
}


def frame() -> pd.DataFrame:
    """Three samples of two models, with gaps, as RouterBench lays them out; text columns of dtype object."""
    table = pd.DataFrame(
        {
            "sample_id": ["mmlu-law.val.1", "grade-school-math.dev.2", "mbpp.test.3"],
            "prompt": ["['one', 'two']", "plain", "['broken"],
            "eval_name": ["mmlu-law", "grade-school-math", "mbpp"],
            "meta/m-1": [0.0, 1.0, np.nan],
            "gpt-4": [1, 0, 1],
            "meta/m-1|model_response": ["a", "b", "c"],
            "gpt-4|model_response": ["a", "b", "c"],
            "meta/m-1|total_cost": [1e-5, 2e-5, np.nan],
            "gpt-4|total_cost": [1e-3, 2e-3, 3e-3],
            "oracle_model_to_route_to": ["gpt-4", "meta/m-1", "no_model_correct"],
        }
    )
    return as_objects(table)


def as_objects(table: pd.DataFrame) -> pd.DataFrame:
    texts = [name for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])]
    table = table.astype(dict.fromkeys(texts, object))
    table.columns = pd.Index(list(table.columns), dtype=object)
    return table


def save(content: bytes, folder: Path) -> Path:
    path = folder / "routerbench_0shot.pkl"
    path.write_bytes(content)
    return path


def check(log: Any) -> None:
    assert isinstance(log, FullLog)
    assert log.arm_ids == ("meta/m-1", "gpt-4")
    assert log.query_ids == ("mmlu-law.val.1", "grade-school-math.dev.2", "mbpp.test.3")
    assert log.prompts == ("one\ntwo", "plain", "['broken")
    assert (log.sources, log.splits) == (("mmlu-law", "grade-school-math", "mbpp"), ("val", "dev", "test"))
    np.testing.assert_array_equal(log.scores, [[0.0, 1.0], [1.0, 0.0], [np.nan, 1.0]])
    np.testing.assert_array_equal(log.costs_usd, [[1e-5, 1e-3], [2e-5, 2e-3], [np.nan, 3e-3]])


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_a_pickled_frame_is_read(tmp_path: Path, protocol: int) -> None:
    check(routerbench(save(pickle.dumps(frame(), protocol), tmp_path)))


def test_a_frame_pickled_under_the_older_names_is_read(tmp_path: Path) -> None:
    content = pickle.dumps(frame(), 3)
    for new, old in OLD_NAMES.items():
        content = content.replace(new, old)
    assert b"numpy._core" not in content
    check(routerbench(save(content, tmp_path)))


class OldManager:
    """Pickles as a manager before pandas 1.3 did: by a state with axes and blocks in it."""

    def __init__(self, table: pd.DataFrame) -> None:
        blocks = [{"values": block.values, "mgr_locs": block.mgr_locs.indexer} for block in table._mgr.blocks]
        self.state = ([], [], [], {"0.14.1": {"axes": list(table._mgr.axes), "blocks": blocks}})

    def __reduce__(self) -> Any:
        return copyreg.__newobj__, (OldManager,), self.state


class OldFrame:
    """Pickles as a frame with such a manager."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._data = OldManager(table)


class Renaming(pickle._Pickler):
    """Writes the two stand-ins above under the names of what they stand for."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        known = {OldManager: b"pandas.core.internals.managers\nBlockManager", OldFrame: b"pandas.core.frame\nDataFrame"}
        if obj in known:
            self.write(b"c" + known[obj] + b"\n")
        else:
            super().save_global(obj, name)

    dispatch = {**pickle._Pickler.dispatch, type: save_global}  # noqa: RUF012 - as the class above has it


def renamed(old: OldFrame) -> bytes:
    """The pickle that an earlier pandas would have written."""
    output = io.BytesIO()
    Renaming(output, 3).dump(old)
    return output.getvalue()


def test_a_frame_in_the_layout_before_pandas_1_3_is_read(tmp_path: Path) -> None:
    content = renamed(OldFrame(frame()))
    assert b"0.14.1" in content
    check(routerbench(save(content, tmp_path)))


def test_no_pandas_is_needed(tmp_path: Path) -> None:
    path = save(pickle.dumps(frame(), 5), tmp_path)
    program = (
        "import sys; sys.modules['pandas'] = None\n"
        "from bandit_router_sim.logs.converters.routerbench import convert\n"
        f"print(len(convert({str(path)!r})))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout.strip() == "3"


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_any_plain_frame_is_read_as_pandas_holds_it(data: st.DataObject) -> None:
    rows = data.draw(st.integers(0, 4))
    kinds = data.draw(st.lists(st.sampled_from(["f8", "f4", "i8", "i2", "u1", "?", "O", ">f8"]), max_size=6))
    texts = st.lists(st.text(max_size=3) | st.none() | st.integers() | st.booleans(), min_size=rows, max_size=rows)
    numbers = st.lists(st.integers(0, 100), min_size=rows, max_size=rows)
    table = pd.DataFrame(index=range(rows))
    for place, kind in enumerate(kinds):
        table[f"c{place}"] = pd.Series(data.draw(texts if kind == "O" else numbers), dtype=kind, index=table.index)
    table.columns = pd.Index(list(table.columns), dtype=object)
    read = read_pickled(pickle.dumps(table, data.draw(st.sampled_from([3, 4, 5]))))
    assert read == {name: table[name].tolist() for name in table.columns}


def read_pickled(content: bytes) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return dict(read_frame(save(content, Path(folder))).columns)


class Call:
    """Pickles as a call of `function` with `args`."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.function, self.args = function, args

    def __reduce__(self) -> Any:
        return self.function, self.args


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("function", "name"),
    [(os.system, "posix.system"), (eval, "eval"), (exec, "exec"), (open, "io.open"), (getattr, "getattr")],
)
def test_a_pickle_that_would_call_something_is_refused_and_calls_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Any, name: str, protocol: int
) -> None:
    marker = tmp_path / "was_here"
    arguments = {
        "posix.system": (f"touch {marker}",),
        "eval": (f"open({str(marker)!r}, 'w')",),
        "exec": (f"open({str(marker)!r}, 'w')",),
        "io.open": (str(marker), "w"),
        "getattr": ("text", "upper"),
    }[name]
    content = pickle.dumps([frame(), Call(function, *arguments)], protocol) if protocol > 2 else b""
    for bytes_ in (pickle.dumps(Call(function, *arguments), protocol), content):
        if bytes_:
            with pytest.raises(UnusableLog, match=name.rpartition(".")[2]) as caught:
                routerbench(save(bytes_, tmp_path))
            assert "refused" in caught.value.reason
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        b"\x80\x04.",
        pickle.dumps({"a": 1}),
        pickle.dumps([1, 2]),
        b"cpandas\nDataFrame.__init__.__globals__\n.",  # a path through an admitted name
        b"\x80\x04\x8c\x06pandas\x8c\x12DataFrame.__init__\x93.",
        b"cbuiltins\nslice\n(K\x01K\x02tb.",  # state for the class itself
        b"cbuiltins\nslice\n(K\x01tRK\x01K\x02s.",  # an item set on a stand-in
        b"cnumpy\nndarray\n.",
        b"Vid\nP.",
        b"Pid\n.",
    ],
)
def test_what_is_no_pickled_frame_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UnusableLog):
        routerbench(save(content, tmp_path))


WHOLE = pickle.dumps(frame(), 5)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255), st.booleans())
def test_a_damaged_pickle_is_refused_as_a_log_or_read(place: int, byte: int, cut: bool) -> None:
    content = WHOLE[:place] if cut else WHOLE[:place] + bytes([byte]) + WHOLE[place + 1 :]
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(LogError):
        routerbench(save(content, Path(folder)))


def test_text_columns_of_arrow_are_refused_with_the_way_out(tmp_path: Path) -> None:
    table = frame()
    table["prompt"] = table["prompt"].astype("str")
    with pytest.raises(UnusableLog, match=r"ArrowStringArray.*(parquet|dtype object)"):
        routerbench(save(pickle.dumps(table), tmp_path))


def test_the_same_columns_are_read_from_parquet_and_csv(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "log.parquet")
    frame().to_csv(tmp_path / "log.csv", index=False)
    check(routerbench(tmp_path / "log.parquet"))
    check(routerbench(tmp_path / "log.csv"))


@pytest.mark.parametrize("dtype", ["f8", "i8", "O"])
def test_blocks_are_read_in_either_order_of_memory(dtype: str) -> None:
    values = np.arange(6).reshape(2, 3).astype(dtype)
    for block in (values, np.asfortranarray(values)):
        old = OldFrame(pd.DataFrame(values.T))
        old._data.state[3]["0.14.1"]["blocks"][0]["values"] = block
        assert read_pickled(renamed(old)) == {"0": values[0].tolist(), "1": values[1].tolist()}
