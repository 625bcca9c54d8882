"""The metrics file: complete after every append, opened by stock pickle, and damage stays where it is."""

from __future__ import annotations

import pickle
import pickletools
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from quadra.errors import DamagedFileError
from quadra.storage import metrics_file
from quadra.storage.metrics_file import HISTORY_KEYS, MetricsLog, append, encode, is_log, parse
from tests.helpers.model_helpers import differences
from tests.helpers.state_helpers import RUN_A, grown

FILE = Path("folder") / "metrics_history.pkl"
GLOBALS = {"numpy ndarray", "numpy concatenate", "builtins zip", "builtins dict"}
Rows = NDArray[np.float32]


def rows_from(start: int, count: int) -> Rows:
    """Rows whose numbers are all different."""
    return np.arange(4 * start, 4 * (start + count), dtype=np.float32).reshape(count, 4) + np.float32(0.5)


def blocks_of(*counts: int) -> list[Rows]:
    """Rows one after the other, in blocks of these sizes."""
    starts = np.cumsum([0, *counts]).tolist()
    return [rows_from(start, count) for start, count in zip(starts, counts, strict=False)]


def opened(content: bytes) -> Rows:
    """What stock pickle gives, as rows, after a look at everything else in it."""
    values = pickle.loads(content)
    assert list(values) == [*HISTORY_KEYS, "iteration_count", "run", "format_version"]
    assert (values["run"], values["format_version"]) == (RUN_A, 2)
    series = [values[key] for key in HISTORY_KEYS]
    assert type(values["iteration_count"]) is int
    assert {(one.dtype, one.shape) for one in series} == {(np.dtype(np.float32), (values["iteration_count"],))}
    return np.stack(series, axis=1)


def same(left: Rows, right: Rows) -> bool:
    return differences(left, right) == []


GOLDEN_ONE = (
    b"\x80\x04X\x10\0\0\0aaaaaaaaaaaaaaaaq\x000"
    b"X\x03\0\0\0runq\x010X\x0f\0\0\0iteration_countq\x020X\x0e\0\0\0format_versionq\x030"
    b"(X\x0c\0\0\0loss_historyX\x0e\0\0\0reward_historyX\x10\0\0\0variance_historyX\x12\0\0\0field_mean_historytq\x040"
    b"X\x03\0\0\0<f4q\x050cnumpy\nndarray\nq\x060cnumpy\nconcatenate\nq\x070cbuiltins\nzip\nq\x080cbuiltins\ndict\nq\x090"
    b"]q\x0a"
    b"h\x06K\x04J\x01\0\0\0\x86h\x05\x8e\x10\0\0\0\0\0\0\0\0\0\x80?\0\0\0@\0\0@@\0\0\x80@\x87RaJT\x14\xa7\x8b0"
    b"K%0h\x09h\x08h\x04h\x07h\x0aK\x01\x86R\x86R\x85R(h\x02J\x01\0\0\0h\x01h\x00h\x03K\x02u."
)
GOLDEN_APPENDED = (
    b"0h\x06K\x04J\x01\0\0\0\x86h\x05\x8e\x10\0\0\0\0\0\0\0\0\0\xa0@\0\0\xc0@\0\0\xe0@\0\0\0A\x87RaJ\xafr`\xf60"
    b"K%0h\x09h\x08h\x04h\x07h\x0aK\x01\x86R\x86R\x85R(h\x02J\x02\0\0\0h\x01h\x00h\x03K\x02u."
)
GOLDEN_ROWS = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.float32)


def test_a_file_of_one_row_is_these_bytes() -> None:
    pieces, log = encode(RUN_A, GOLDEN_ROWS[:1])
    assert b"".join(pieces) == GOLDEN_ONE
    assert log == MetricsLog(RUN_A, 1, ending_at=GOLDEN_ONE.rindex(b"K%"), size=len(GOLDEN_ONE))
    assert same(opened(GOLDEN_ONE), GOLDEN_ROWS[:1])


def test_an_append_of_one_row_is_these_bytes_and_one_byte_that_is_changed() -> None:
    _, log = encode(RUN_A, GOLDEN_ROWS[:1])
    content, longer = append(log, GOLDEN_ROWS[1:])
    assert content == GOLDEN_APPENDED
    assert longer.size == len(GOLDEN_ONE) + len(GOLDEN_APPENDED)
    file = bytearray(GOLDEN_ONE + GOLDEN_APPENDED)
    assert same(opened(bytes(file)), GOLDEN_ROWS[:1])
    assert (file[log.ending_at], metrics_file.SKIPPED) == (ord("K"), b"C")
    file[log.ending_at : log.ending_at + 1] = metrics_file.SKIPPED
    assert same(opened(bytes(file)), GOLDEN_ROWS)


counts = st.lists(st.integers(0, 40), min_size=1, max_size=8)


@given(counts)
def test_any_sequence_of_appends_opens_with_stock_pickle_and_reads_back_to_the_bit(sizes: list[int]) -> None:
    blocks = blocks_of(*sizes)
    content, whole = grown(RUN_A, *blocks), np.concatenate(blocks)
    assert same(opened(content), whole)
    assert pickle._loads(content)["iteration_count"] == len(whole)  # type: ignore[attr-defined]  # the one in Python
    parsed = parse(content, FILE)
    assert parsed.intact
    assert same(parsed.rows, whole)
    assert (parsed.log.run, parsed.log.rows, parsed.log.size) == (RUN_A, len(whole), len(content))


@given(counts)
def test_a_file_that_was_read_grows_on_as_the_one_that_was_written(sizes: list[int]) -> None:
    blocks = blocks_of(*sizes, 3)
    content = grown(RUN_A, *blocks[:-1])
    added, log = append(parse(content, FILE).log, blocks[-1])
    at = parse(content, FILE).log.ending_at
    file = content[:at] + metrics_file.SKIPPED + content[at + 1 :] + added
    assert file == grown(RUN_A, *blocks)
    assert parse(file, FILE).log == log


@given(counts)
def test_nothing_but_numpy_arrays_and_builtins_is_named_in_any_of_it(sizes: list[int]) -> None:
    operations = list(pickletools.genops(grown(RUN_A, *blocks_of(*sizes))))
    assert {str(argument) for operation, argument, _ in operations if operation.name == "GLOBAL"} == GLOBALS
    names = {operation.name for operation, _, _ in operations}
    assert not names & {"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD", "PERSID", "BINPERSID", "EXT1"}
    assert [operation.name for operation, _, _ in operations].count("STOP") == 1


@pytest.mark.parametrize("sizes", [(3, 2), (0, 1), (1, 0), (2, 3, 1, 4)])
def test_every_prefix_of_an_append_opens_as_the_old_rows_and_the_changed_byte_makes_it_the_new_ones(
    sizes: tuple[int, ...],
) -> None:
    blocks = blocks_of(*sizes)
    before, whole = grown(RUN_A, *blocks[:-1]), np.concatenate(blocks)
    log = parse(before, FILE).log
    added, longer = append(log, blocks[-1])
    for length in range(len(added) + 1):
        cut_off = before + added[:length]
        assert same(opened(cut_off), whole[: log.rows])
        parsed = parse(cut_off, FILE)
        assert parsed.intact
        assert parsed.log == log
        assert same(parsed.rows, whole[: log.rows])
    done = before[: log.ending_at] + metrics_file.SKIPPED + before[log.ending_at + 1 :] + added
    assert same(opened(done), whole)
    assert parse(done, FILE).log == longer


def test_rows_that_are_marked_as_lost_are_kept_as_they_are() -> None:
    rows = rows_from(0, 4)
    rows[1:3] = np.nan
    content = grown(RUN_A, rows[:2], rows[2:])
    assert same(opened(content), rows)
    assert parse(content, FILE).intact
    assert same(parse(content, FILE).rows, rows)


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda rows: rows[::-1][::-1], lambda rows: rows.astype(">f4")])
def test_rows_are_written_by_value_however_they_lie_in_memory(layout: object) -> None:
    rows = rows_from(0, 5)
    assert callable(layout)
    assert b"".join(encode(RUN_A, layout(rows))[0]) == b"".join(encode(RUN_A, rows)[0])


# --- size


def test_a_thousand_rows_take_sixteen_kilobytes() -> None:
    for thousands in (1, 10):
        _, log = encode(RUN_A, rows_from(0, 1000 * thousands))
        assert 16_000 <= log.size / thousands <= 16_500
        assert not log.is_fragmented


def test_a_file_that_grows_by_some_hundred_rows_stays_below_seventeen_kilobytes_a_thousand() -> None:
    _, log = encode(RUN_A, rows_from(0, 0))
    for _ in range(40):
        _, log = append(log, rows_from(log.rows, 256))
        assert not log.is_fragmented
    assert log.size <= 17 * log.rows


def test_a_file_of_many_small_blocks_is_worth_writing_anew_before_it_is_too_large() -> None:
    _, log = encode(RUN_A, rows_from(0, 1000))
    while not log.is_fragmented:
        assert log.size <= 17 * log.rows
        _, log = append(log, rows_from(log.rows, 1))
    _, anew = encode(RUN_A, rows_from(0, log.rows))
    assert not anew.is_fragmented


@given(st.integers(0, 10**6), st.integers(0, 300))
def test_an_append_costs_the_same_at_any_length(before: int, count: int) -> None:
    short, _ = append(MetricsLog(RUN_A, 0, 300, 340), rows_from(0, count))
    long, _ = append(MetricsLog(RUN_A, before, 10**9, 10**9 + 40), rows_from(0, count))
    assert len(short) == len(long)


# --- damage


SIZES = (4, 1, 3, 5)


def test_a_damaged_block_comes_out_as_rows_of_not_a_number_while_the_others_survive() -> None:
    blocks = blocks_of(*SIZES)
    content, whole = grown(RUN_A, *blocks), np.concatenate(blocks)
    start = 0
    for block in blocks:
        numbers = np.ascontiguousarray(block.T).tobytes()
        place = content.index(numbers)
        for offset in range(len(numbers)):
            damaged = bytearray(content)
            damaged[place + offset] ^= 1 << offset % 8
            parsed = parse(bytes(damaged), FILE)
            assert not parsed.intact
            assert np.isnan(parsed.rows[start : start + len(block)]).all()
            assert same(np.delete(parsed.rows, np.s_[start : start + len(block)], 0), rows_without(whole, start, block))
        start += len(block)


def rows_without(rows: Rows, start: int, block: Rows) -> Rows:
    return np.delete(rows, np.s_[start : start + len(block)], 0)


def test_every_changed_byte_is_noticed_and_no_wrong_row_comes_out() -> None:
    blocks = blocks_of(*SIZES)
    content, whole = grown(RUN_A, *blocks), np.concatenate(blocks)
    run = range(content.index(RUN_A.encode()), content.index(RUN_A.encode()) + len(RUN_A))
    joints = {parse(grown(RUN_A, *blocks[:count]), FILE).log.ending_at for count in range(1, len(blocks))}
    for place in range(len(content)):
        for change in (0x01, metrics_file.SKIPPED[0] ^ GOLDEN_ONE[GOLDEN_ONE.rindex(b"K%")], 0x80, 0xFF):
            damaged = bytearray(content)
            damaged[place] ^= change
            try:
                parsed = parse(bytes(damaged), FILE)
            except DamagedFileError as error:
                assert error.path == FILE
                continue
            another_run, earlier_end = parsed.log.run != RUN_A, parsed.log.rows < len(whole)
            if parsed.intact:  # the weights then know better: whose rows they are, and how many
                assert (another_run and place in run) or (earlier_end and place in joints), f"byte {place}"
            found = parsed.rows
            assert same(found, np.where(np.isnan(found), found, whole[: len(found)])), f"byte {place}"


def test_a_file_that_is_cut_short_gives_the_blocks_that_are_whole() -> None:
    blocks = blocks_of(*SIZES)
    content, whole = grown(RUN_A, *blocks), np.concatenate(blocks)
    seen = set()
    for length in range(len(GOLDEN_ONE), len(content)):
        parsed = parse(content[:length], FILE)
        assert not parsed.intact
        assert same(parsed.rows, whole[: len(parsed.rows)])
        seen.add(len(parsed.rows))
    assert seen >= {4, 5, 8, 13}


@pytest.mark.parametrize(
    "content", [b"", b"\x80", b"rubbish", GOLDEN_ONE[1:], GOLDEN_ONE[:200], pickle.dumps({"a": 1})]
)
def test_what_does_not_begin_as_a_metrics_file_is_refused_and_the_file_named(content: bytes) -> None:
    with pytest.raises(DamagedFileError) as refused:
        parse(content, FILE)
    assert refused.value.path == FILE


def test_a_file_of_this_form_is_told_from_other_pickles() -> None:
    assert is_log(GOLDEN_ONE)
    assert not is_log(pickle.dumps({"loss_history": [0.5]}, 4))
    assert not is_log(b"")


HEADER = GOLDEN_ONE[: GOLDEN_ONE.index(b"h\x06K\x04J")]


def forged(count: int, size: int, content: bytes = b"") -> bytes:
    """A block's head that promises so many rows in so many bytes."""
    return HEADER + b"h\x06K\x04J" + struct.pack("<i", count) + b"\x86h\x05\x8e" + struct.pack("<Q", size) + content


@pytest.mark.parametrize(
    ("count", "size"),
    [
        (2**31 - 1, 16 * (2**31 - 1)),
        (2**27, 2**31),
        (2**31 - 1, 0),
        (0, 2**64 - 1),
        (-1, 2**64 - 16),
        (-(2**31), 0),
        (1, 15),
        (1, 17),
        (2, 16),
    ],
)
def test_a_forged_block_gives_no_row_and_claims_no_memory(count: int, size: int) -> None:
    content = forged(count, size, bytes(200))
    tracemalloc.start()
    try:
        parsed = parse(content, FILE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (parsed.intact, len(parsed.rows)) == (False, 0)
    assert peak < 1 << 20


@given(st.binary(max_size=400))
def test_anything_at_all_behind_a_header_gives_rows_or_nothing_and_never_another_error(rest: bytes) -> None:
    parsed = parse(HEADER + rest, FILE)
    assert parsed.rows.shape[1] == 4
    assert not parsed.intact


def test_code_behind_a_header_is_not_run(tmp_path: Path) -> None:
    code = f"0cos\nmkdir\n(V{tmp_path / 'ran'}\ntR.".encode()
    _, log = encode(RUN_A, GOLDEN_ROWS[:1])
    hostile = GOLDEN_ONE[: log.ending_at] + metrics_file.SKIPPED + GOLDEN_ONE[log.ending_at + 1 :] + code
    assert not parse(hostile, FILE).intact
    assert not (tmp_path / "ran").exists()
    pickle.loads(hostile)
    assert (tmp_path / "ran").exists(), "stock pickle would have run it"
