"""The weights file: what stock torch loads from it is the engine's state to the bit, and it is encoded without torch.save."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quadra.config import ACTIONS, TrainingConfig
from quadra.errors import DamagedFileError
from quadra.model.corpus import Corpus
from quadra.model.engine import Engine
from quadra.storage.layout import WEIGHTS
from quadra.storage.save_record import FORMAT_VERSION
from quadra.storage.weights_file import TAIL, WeightsEncoder, decode
from tests.helpers.model_helpers import differences, steps
from tests.helpers.state_helpers import archive_of, small_config

NO_ROWS = np.empty((0, 4), np.float32)
EXTRAS = {"configuration", "format_version", TAIL}  # what the file holds besides the engine's state


def trained(count: int, **settings: Any) -> Engine:
    engine = Engine(small_config(**settings), Corpus())
    steps(engine, count)
    return engine


def encoded(engine: Engine, tail: NDArray[np.float32] = NO_ROWS) -> bytes:
    snapshot = engine.snapshot()
    content = b"".join(archive_of(WeightsEncoder(engine.config, snapshot), snapshot, tail))
    snapshot.release()
    return content


def stock(content: bytes, **options: Any) -> dict[str, Any]:
    """What plain torch gives."""
    found = torch.load(io.BytesIO(content), weights_only=True, **options)
    assert isinstance(found, dict)
    return found


def as_engine(weights: dict[str, Any], engine: Engine) -> dict[str, Any]:
    """The file's entries in the order of the engine's own; the order in a file means nothing."""
    assert set(weights) - EXTRAS == set(engine.state_dict())
    moments = {name: weights["optimizer"][name] for name in ("exp_avg", "exp_avg_sq")}
    step = int(weights["optimizer"]["step"])
    return {**{name: weights[name] for name in engine.state_dict()}, "optimizer": {"step": step, **moments}}


@settings(max_examples=15)
@given(
    field_size=st.integers(2, 30), patterns=st.integers(1, 5), seed=st.integers(0, 2**53 - 1), count=st.integers(0, 4)
)
def test_what_stock_torch_loads_is_the_engines_state_to_the_bit(count: int, **sizes: int) -> None:
    engine = trained(count, **sizes)
    weights = stock(encoded(engine))
    assert differences(as_engine(weights, engine), engine.state_dict()) == []
    assert weights["configuration"] == engine.config.as_dict()
    assert weights["format_version"] == FORMAT_VERSION


def test_an_engine_that_loads_it_goes_on_to_the_same_bits() -> None:
    engine, other = trained(7), Engine(small_config(seed=99), Corpus())
    other.load_state_dict(as_engine(stock(encoded(engine)), engine))
    assert steps(engine, 5) == steps(other, 5)
    assert differences(other.state_dict(), engine.state_dict()) == []


def test_our_own_reading_gives_what_stock_torch_gives() -> None:
    content = encoded(trained(3))
    assert differences(decode(content), stock(content)) == []


def test_it_can_be_mapped_into_memory(tmp_path: Path) -> None:
    engine = trained(3)
    (tmp_path / WEIGHTS).write_bytes(encoded(engine))
    mapped = torch.load(tmp_path / WEIGHTS, weights_only=True, mmap=True)
    assert differences(as_engine(mapped, engine), engine.state_dict()) == []


def test_stock_zip_tools_find_nothing_wrong_with_it() -> None:
    with zipfile.ZipFile(io.BytesIO(encoded(trained(3)))) as opened:
        assert opened.testzip() is None
        assert "archive/data.pkl" in opened.namelist()


def test_it_is_as_small_as_what_torch_would_write() -> None:
    engine = Engine(TrainingConfig(seed=1, threads=1), Corpus())
    buffer = io.BytesIO()
    torch.save({**engine.state_dict(), "configuration": engine.config.as_dict()}, buffer)
    assert len(encoded(engine)) <= len(buffer.getvalue()) + 256


def test_one_encoder_encodes_every_save_of_a_run() -> None:
    engine = trained(0)
    snapshot = engine.snapshot()
    encoder = WeightsEncoder(engine.config, snapshot)
    snapshot.release()
    for _ in range(5):
        steps(engine, 2)
        snapshot = engine.snapshot()
        content = b"".join(archive_of(encoder, snapshot, NO_ROWS))
        snapshot.release()
        assert content == encoded(engine)
        assert differences(as_engine(stock(content), engine), engine.state_dict()) == []


def test_encoding_changes_nothing_in_the_snapshot() -> None:
    engine = trained(2)
    snapshot = engine.snapshot()
    encoder = WeightsEncoder(engine.config, snapshot)
    tail = np.arange(8, dtype=np.float32).reshape(2, 4)
    first = b"".join(archive_of(encoder, snapshot, tail))
    assert b"".join(archive_of(encoder, snapshot, tail)) == first


# --- the rows of the history that it carries


@pytest.mark.parametrize("count", [0, 1, 256])
def test_the_newest_rows_of_the_history_come_back_to_the_bit(count: int) -> None:
    rows = np.random.default_rng(1).normal(size=(count + 3, 4)).astype(np.float32)
    tail = stock(encoded(trained(1), rows[3:]))[TAIL]
    assert differences(tail.numpy(), rows[3:].copy()) == []


def test_rows_that_lie_otherwise_in_memory_come_back_by_value() -> None:
    rows = np.arange(40, dtype=np.float32).reshape(10, 4)
    for tail in (rows[::2], np.asfortranarray(rows), rows.reshape(4, 10).T):
        assert np.array_equal(stock(encoded(trained(1), tail))[TAIL].numpy(), tail)


def test_rows_that_are_marked_as_lost_come_back_as_they_are() -> None:
    rows = np.full((2, 4), np.nan, np.float32)
    assert stock(encoded(trained(1), rows))[TAIL].isnan().all()


# --- the Q-table


KEYS = ["", "0.5", "-0.0", "\u00e9\u00e8", "\U0001f9e0", "a\nb", "x" * 300, "'\"\\", "\x00", "archive/data/0", "nan"]


def with_table(table: dict[str, dict[str, float]]) -> Engine:
    engine = trained(1)
    engine.load_state_dict({**engine.state_dict(), "q_table": table})
    return engine


@given(
    st.dictionaries(
        st.text() | st.sampled_from(KEYS),
        st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * len(ACTIONS)),
        max_size=12,
    )
)
def test_a_q_table_with_any_keys_and_values_comes_back_to_the_bit(given_table: dict[str, tuple[float, ...]]) -> None:
    engine = with_table({key: dict(zip(ACTIONS, values, strict=True)) for key, values in given_table.items()})
    assert differences(stock(encoded(engine))["q_table"], engine.state_dict()["q_table"]) == []


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 1000, 1001, 3000])
def test_a_q_table_of_any_size_comes_back(count: int) -> None:
    """A pickle changes its form at some hundred entries, and again at each thousand."""
    engine = with_table({f"{key / 100}": dict.fromkeys(ACTIONS, key + 0.5) for key in range(count)})
    found = stock(encoded(engine))
    assert differences(found["q_table"], engine.state_dict()["q_table"]) == []
    assert differences(as_engine(found, engine), engine.state_dict()) == []


def test_it_names_nothing_but_what_torch_needs_to_make_tensors() -> None:
    content = encoded(with_table({key: dict.fromkeys(ACTIONS, 0.5) for key in KEYS}))
    with zipfile.ZipFile(io.BytesIO(content)) as opened:
        operations = list(pickletools.genops(opened.read("archive/data.pkl")))
    named = {str(argument) for operation, argument, _ in operations if operation.name == "GLOBAL"}
    assert named == {
        "torch._utils _rebuild_tensor_v2", "torch FloatStorage", "torch LongStorage", "torch ByteStorage",
        "collections OrderedDict",
    }  # fmt: skip
    assert "STACK_GLOBAL" not in {operation.name for operation, _, _ in operations}


# --- what cannot be read


@pytest.mark.parametrize("content", [b"", b"PK", b"rubbish" * 100, pickle.dumps({"a": 1}), bytes(10_000)])
def test_what_is_no_weights_file_is_damaged(content: bytes) -> None:
    with pytest.raises(DamagedFileError, match="cannot be read as weights"):
        decode(content)


@pytest.mark.parametrize("held", [[1, 2], 5, torch.zeros(3)], ids=["a list", "a number", "a tensor"])
def test_a_file_of_something_else_than_a_dictionary_is_damaged(held: object) -> None:
    buffer = io.BytesIO()
    torch.save(held, buffer)
    with pytest.raises(DamagedFileError, match="not the dictionary"):
        decode(buffer.getvalue())


@pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:TypedStorage is deprecated")
@settings(max_examples=200)
@given(place=st.integers(0, 10**9), change=st.integers(1, 255))
def test_a_changed_byte_gives_other_numbers_or_our_error_and_nothing_else(place: int, change: int) -> None:
    content = bytearray(CONTENT)
    content[place % len(content)] ^= change
    try:
        assert isinstance(decode(bytes(content)), dict)
    except DamagedFileError as error:
        assert error.file == WEIGHTS


@pytest.mark.filterwarnings("ignore:Detected pickle protocol", "ignore:TypedStorage is deprecated")
@settings(max_examples=100)
@given(place=st.integers(0, 10**9), change=st.integers(1, 255))
def test_a_changed_byte_of_the_description_gives_other_data_or_our_error_and_nothing_else(
    place: int, change: int
) -> None:
    start = CONTENT.index(b"}q\x00") - 2
    content = bytearray(CONTENT)
    content[start + place % (CONTENT.index(b"PK\x01\x02") - start)] ^= change
    try:
        assert isinstance(decode(bytes(content)), dict)
    except DamagedFileError as error:
        assert error.file == WEIGHTS


CONTENT = encoded(trained(1))


# --- hostile files


def saved(values: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(values, buffer)
    return buffer.getvalue()


def laughs() -> list[Any]:
    """A list whose few entries, each used twice, come to 2^60."""
    held: list[Any] = [0.5]
    for _ in range(15):
        held = [held] * 16
    return held


def around_itself() -> list[Any]:
    held: list[Any] = []
    held.append(held)
    return held


def deep() -> tuple[Any, ...]:
    held: tuple[Any, ...] = ()
    for _ in range(400):
        held = (held,)
    return held


@pytest.mark.parametrize(
    "value",
    [
        lambda: torch.zeros(1).expand(2**40),
        lambda: torch.zeros(1).as_strided((2**20, 2**20), (0, 0)),
        laughs,
        around_itself,
        deep,
    ],
    ids=["a tensor without strides", "a matrix without strides", "entries used many times", "a circle", "a deep one"],
)
def test_a_few_bytes_that_claim_to_be_much_are_refused(value: Callable[[], object]) -> None:
    content = saved({"field": value()})
    assert len(content) < 10_000
    with pytest.raises(DamagedFileError, match=r"more numbers than the file|shared or nested"):
        decode(content)


def test_a_file_that_would_unpack_to_much_more_is_refused() -> None:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved({"field": torch.zeros(1_000_000)}))) as plain,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert len(buffer.getvalue()) < 10_000
    with pytest.raises(DamagedFileError, match="unpack to more"):
        decode(buffer.getvalue())


def test_tensors_that_share_their_numbers_are_not_many_times_as_large_as_the_file() -> None:
    shared = torch.zeros(10_000)
    content = saved({"field": shared, "newest": {str(number): shared for number in range(6)}})
    with pytest.raises(DamagedFileError, match="more numbers than the file"):
        decode(content)


def test_a_description_longer_than_any_saves_is_refused_before_it_is_read() -> None:
    with pytest.raises(DamagedFileError, match="describes more"):
        decode(saved({"newest": {"text": "long " * 1_000_000}}))


def test_an_older_form_before_the_archive_which_claims_memory_by_a_number_is_not_read() -> None:
    older = io.BytesIO()
    torch.save({"field": torch.zeros(3)}, older, _use_new_zipfile_serialization=False)
    assert torch.load(io.BytesIO(older.getvalue() + saved({})), weights_only=True)["field"].tolist() == [0, 0, 0]
    with pytest.raises(DamagedFileError, match="before its archive"):
        decode(older.getvalue() + saved({}))


def test_code_is_not_run(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "ran"),)

    with pytest.raises(DamagedFileError):
        decode(saved({"field": Code()}))
    assert not (tmp_path / "ran").exists()
