"""Pickles of plain data: stock tools open what is written, and nothing that is read can run code or claim memory."""

from __future__ import annotations

import collections
import datetime
import functools
import os
import pickle
import pickletools
import subprocess
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra.errors import DamagedFileError
from quadra.storage.files.safe_pickle import _PlainUnpickler, dumps, loads
from tests.helpers.model_helpers import differences

FILE = "metrics_history.pkl"
RAN: list[str] = []


def ran(*arguments: object) -> None:
    """What a pickle would run, were it let."""
    RAN.append(repr(arguments))


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: object, state: object = None) -> None:
        self._parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self._parts


def pickled(value: object, protocol: int = 4) -> bytes:
    return pickle.dumps({"loss_history": value}, protocol)


CODE = {
    "os.system": lambda: Call(os.system, "true"),
    "a function of ours": lambda: Call(ran, 1),
    "eval": lambda: Call(eval, "1 + 1"),
    "exec": lambda: Call(exec, "pass"),
    "open": lambda: Call(open, os.devnull),
    "getattr": lambda: Call(getattr, "text", "upper"),
    "__import__": lambda: Call(__import__, "os"),
    "a process": lambda: Call(subprocess.Popen, ("true",)),
    "a function that numpy has": lambda: Call(np.fromfile, os.devnull),
    "a loader that numpy has": lambda: Call(np.load, os.devnull),
    "a partial call": lambda: functools.partial(ran, 1),
    "a class": lambda: Call,
    "a bare function": lambda: ran,
    "a date": lambda: datetime.date(2026, 1, 1),
    "a set": lambda: collections.Counter("abc"),
    "an object array": lambda: np.array([1, "a", None], dtype=object),
    "an object array around code": lambda: np.array([Call(ran, 1)], dtype=object),
    "a text array": lambda: np.array(["a"]),
    "a record array": lambda: np.zeros(2, dtype=[("number", "i4"), ("thing", "O")]),
    "an object type": lambda: np.dtype("O"),
    "an object array by its class": lambda: Call(np.ndarray, (2,), "O"),
    "an object array over bytes": lambda: Call(np.ndarray, (1,), "O", bytes(8)),
    "code in a list": lambda: [[Call(ran, 1)]],
    "code in a key": lambda: [{Call(ran, 1): 1}],
    "code in a tuple in a dictionary": lambda: {"deep": ({"deeper": Call(ran, 1)},)},
    "code in an array's state": lambda: Call(np.ndarray, (0,), state=(1, (1,), np.dtype("f4"), False, Call(ran, 1))),
}


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("arrays", [True, False])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_holds_more_than_plain_data_is_refused_and_runs_nothing(
    name: str, arrays: bool, protocol: int
) -> None:
    try:
        content = pickled(CODE[name](), protocol)
    except (pickle.PicklingError, TypeError):
        pytest.skip("this protocol cannot even write it")
    RAN.clear()
    with pytest.raises(DamagedFileError) as refused:
        loads(content, FILE, arrays)
    assert refused.value.file == FILE
    assert RAN == []


def test_the_code_of_these_tests_would_run_in_stock_pickle() -> None:
    RAN.clear()
    pickle.loads(pickled([Call(ran, 1)]))
    assert RAN == ["(1,)"]


@pytest.mark.parametrize(
    "target", [b"cos\nsystem\n", b"cbuiltins\neval\n", b"cposix\nsystem\n", b"cquadra.folder\nos.system\n"]
)
def test_code_named_by_hand_is_refused(target: bytes) -> None:
    with pytest.raises(DamagedFileError, match="not plain data"):
        loads(target + b"(S'true'\ntR.", FILE, arrays=True)


def test_a_class_by_its_registered_number_is_refused() -> None:
    with pytest.raises(DamagedFileError):
        loads(b"\x80\x02\x82\x01.", FILE, arrays=True)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), plain), st.booleans())
def test_plain_data_comes_back_and_stock_pickle_reads_it_too(values: dict[str, Any], arrays: bool) -> None:
    content = dumps(values)
    assert differences(loads(content, FILE, arrays), values) == []
    assert differences(pickle.loads(content), values) == []


@pytest.mark.parametrize(
    "array",
    [
        np.arange(5, dtype=np.float32),
        np.arange(6, dtype=np.float64).reshape(2, 3),
        np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        np.array([True, False]),
        np.array([1.5, np.nan, -0.0, np.inf], np.float16),
        np.empty((0,), np.float32),
        np.array(2.5, np.float32),
        np.arange(10, dtype=np.uint8)[::3],
    ],
)
def test_an_array_of_numbers_comes_back_to_the_bit_and_stock_pickle_reads_it_too(array: Any) -> None:
    content = dumps({"a": array})
    for read in (loads(content, FILE, arrays=True)["a"], pickle.loads(content)["a"]):
        assert (read.shape, read.astype(array.dtype).tobytes()) == (array.shape, array.tobytes())
        assert np.array_equal(read, array, equal_nan=True)


@pytest.mark.parametrize("number", [np.float64(0.1), np.float32(0.1), np.int64(-3), np.uint8(200), np.bool_(True)])
def test_a_numpy_number_is_read_as_a_plain_one(number: Any) -> None:
    read = loads(dumps({"a": [number]}), FILE, arrays=True)["a"][0]
    assert type(read) in (float, int, bool)
    assert read == number.item()


def test_arrays_are_refused_where_builtins_only_belong() -> None:
    with pytest.raises(DamagedFileError):
        loads(dumps({"a": np.arange(3)}), FILE, arrays=False)
    with pytest.raises(DamagedFileError):
        loads(dumps({"a": np.float64(3)}), FILE, arrays=False)


def test_the_module_names_of_numpy_1_are_accepted() -> None:
    values = {"a": np.arange(4, dtype=np.float32), "b": np.float64(0.1)}
    content = pickle.dumps(values, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy._core" not in content
    read = loads(content, FILE, arrays=True)
    assert (read["a"].tolist(), read["b"]) == ([0, 1, 2, 3], 0.1)


def test_what_is_written_names_nothing_but_numpy_arrays() -> None:
    content = dumps({"a": np.arange(4, dtype=np.float32), "b": [1, 2.5, "text", None, True]})
    names = {str(argument) for opcode, argument, _ in pickletools.genops(content) if opcode.name == "SHORT_BINUNICODE"}
    assert {name for name in names if name.startswith("numpy")} <= {"numpy", "numpy._core.multiarray"}


@pytest.mark.parametrize(
    "content", [b"", b".", b"\x80\x04", b"N.", b"]." + b"x", b"K\x05.", b"PK\x03\x04", b"\xff" * 100]
)
def test_what_is_no_pickled_dictionary_is_refused(content: bytes) -> None:
    with pytest.raises(DamagedFileError) as refused:
        loads(content, FILE, arrays=True)
    assert refused.value.file == FILE


def test_every_truncation_is_refused() -> None:
    content = dumps({"a": np.arange(4, dtype=np.float32), "b": 1})
    whole_without_its_seal = content.index(b"\nsha256:")
    for length in set(range(len(content))) - {whole_without_its_seal}:
        with pytest.raises(DamagedFileError):
            loads(content[:length], FILE, arrays=True)


def test_every_flipped_bit_of_a_sealed_file_is_noticed() -> None:
    content = bytearray(dumps({"a": np.arange(4, dtype=np.float32), "b": {"c": 1.5}}))
    for place in range(len(content)):
        for bit in range(8):
            content[place] ^= 1 << bit
            with pytest.raises(DamagedFileError):
                loads(bytes(content), FILE, arrays=True)
            content[place] ^= 1 << bit


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_of_a_file_without_a_checksum_gives_other_data_or_our_error(place: int, change: int) -> None:
    content = bytearray(pickle.dumps({"a": np.arange(4, dtype=np.float32), "b": {"c": 1.5}}, 4))
    content[place % len(content)] ^= change
    try:
        assert isinstance(loads(bytes(content), FILE, arrays=True), dict)
    except DamagedFileError as error:
        assert error.file == FILE


HUGE = (1 << 28,)
FORGED_SHAPES = {
    "in the start of an array": lambda: Call(np._core.multiarray._reconstruct, np.ndarray, HUGE, b"b"),  # type: ignore[attr-defined]
    "in an array's state": lambda: Call(
        np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
        np.ndarray,
        (0,),
        b"b",
        state=(1, HUGE, np.dtype("f4"), False, b"1234"),
    ),  # fmt: skip
    "in a call of the class": lambda: Call(np.ndarray, HUGE, np.dtype("i1")),
    "in a call of the class with steps of zero": lambda: Call(np.ndarray, HUGE, np.dtype("i1"), b"1", 0, (0,)),
}


@pytest.mark.parametrize("place", FORGED_SHAPES)
def test_a_forged_shape_claims_no_memory(place: str) -> None:
    content = pickled(FORGED_SHAPES[place]())
    tracemalloc.start()
    try:
        read = loads(content, FILE, arrays=True)["loss_history"].size
    except DamagedFileError:
        read = 0
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 1 << 20
    assert read <= len(content)


def test_an_array_never_has_more_numbers_than_the_file_has_bytes_for() -> None:
    forged = Call(
        np._core.multiarray._reconstruct, np.ndarray, (0,), b"b",  # type: ignore[attr-defined]
        state=(1, (1000,), np.dtype("f4"), False, b"1234"),
    )  # fmt: skip
    with pytest.raises(DamagedFileError):
        loads(pickled(forged), FILE, arrays=True)


def test_arrays_never_have_more_bytes_together_than_the_file() -> None:
    """Each array's state names the same bytes, which numpy copies where their order is another."""
    shared = bytes(1 << 16)
    forged = [
        Call(
            np._core.multiarray._reconstruct, np.ndarray, (0,), b"b",  # type: ignore[attr-defined]
            state=(1, (1 << 13,), np.dtype(">f8"), False, shared),
        )
        for _ in range(200)
    ]  # fmt: skip
    content = pickled(forged)
    assert len(content) < 1 << 17
    tracemalloc.start()
    try:
        with pytest.raises(DamagedFileError, match="more bytes than it has"):
            loads(content, FILE, arrays=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.parametrize(
    "operations",
    [pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.MARK, pickle.TUPLE1, pickle.MEMOIZE, pickle.BINPUT + b"\0"],
)
def test_a_pickle_of_nothing_but_empty_objects_is_refused_before_it_takes_the_memory(operations: bytes) -> None:
    with pytest.raises(DamagedFileError, match="more objects"):
        loads(b"\x80\x04N" + operations * 100_000 + b".", FILE, arrays=True)


@pytest.mark.parametrize("operation", [pickle.EMPTY_SET, pickle.MARK + pickle.FROZENSET])
def test_sets_are_no_plain_data_of_ours(operation: bytes) -> None:
    with pytest.raises(DamagedFileError, match="does not need"):
        loads(b"\x80\x04}\x8c\x01a" + operation + b"s.", FILE, arrays=True)


@pytest.mark.parametrize("kind", [float, np.float64, np.float32, np.float16, np.int8, np.bool_])
def test_a_long_list_of_numbers_of_any_kind_is_read(kind: Callable[[int], Any]) -> None:
    numbers = [kind(number % 2) for number in range(20_000)]
    assert loads(pickled(numbers), FILE, arrays=True)["loss_history"] == [float(number) for number in numbers]


def test_a_pickle_cannot_change_the_functions_that_read_it() -> None:
    forged = b"\x80\x04cnumpy\ndtype\n(N}\x8c\x0c__defaults__\x8c\x01f\x85stb0}."
    with pytest.raises(DamagedFileError):
        loads(forged, FILE, arrays=True)
    assert loads(dumps({"a": np.arange(3)}), FILE, arrays=True)["a"].tolist() == [0, 1, 2]


numbers = st.lists(st.floats() | st.integers() | st.none(), max_size=30)


def outcome(content: bytes) -> str:
    try:
        return repr(loads(content, FILE, arrays=True))
    except DamagedFileError as error:
        return str(error)


@given(
    st.dictionaries(st.text(max_size=3), numbers, max_size=4), st.integers(1, 1500), st.integers(1, 5),
    st.none() | st.tuples(st.integers(0, 10**6), st.integers(1, 255)), st.integers(0, 40),
)  # fmt: skip
def test_floats_in_a_row_are_read_as_one_by_one(
    values: dict[str, list[Any]], times: int, protocol: int, change: tuple[int, int] | None, cut: int
) -> None:
    content = bytearray(pickle.dumps({name: column * times for name, column in values.items()}, protocol))
    if change is not None:
        content[change[0] % len(content)] ^= change[1]
    content = content[: max(1, len(content) - cut)]
    found = outcome(bytes(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_PlainUnpickler.dispatch, pickle.BINFLOAT[0], pickle._Unpickler.load_binfloat)  # type: ignore[attr-defined]
        assert found == outcome(bytes(content))


def test_lists_of_floats_are_read_a_thousand_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    count, one_by_one = 0, pickle._Unpickler.load_binfloat  # type: ignore[attr-defined]  # the stubs leave the operations out

    def counted(self: Any) -> None:
        nonlocal count
        count += 1
        one_by_one(self)

    monkeypatch.setattr(pickle._Unpickler, "load_binfloat", counted)
    values = [number / 7 for number in range(200_000)]
    assert loads(pickle.dumps({"a": values}, 4), FILE, arrays=True) == {"a": values}
    assert count < 1000
