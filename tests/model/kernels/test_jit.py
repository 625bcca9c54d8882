"""Kernels are stored on disk where that is possible, and compiled in memory where it is not."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from numba.core.caching import CompileResultCacheImpl

from quadra.model.kernels import jit


def twice(number: float) -> float:
    return 2.0 * number


def test_a_folder_that_cannot_be_written_does_not_hinder(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    jit._say_that_nothing_is_stored.cache_clear()

    def without_a_folder(*arguments: Any, cache: bool = False, **options: Any) -> Any:
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return jit.njit(*arguments, **options)

    monkeypatch.setattr(jit, "_jit", without_a_folder)
    assert jit.compiled("f8(f8)")(twice)(4.0) == 8.0
    assert asked == [True, False]


def test_an_error_that_compiling_anew_does_not_mend_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "_jit", lambda *_, **__: lambda _function: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        jit.compiled()(twice)


def test_a_kernel_is_stored_under_a_name_that_changes_with_the_kernels() -> None:
    def kernel(number: float) -> float:
        return number

    jit.compiled()(kernel)
    assert kernel.__qualname__.endswith(f"_{jit._FINGERPRINT}")


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stored]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Stored(monkeypatch, tmp_path)
    jit._compile_all.cache_clear()


class Stored:
    """A kernel in a module of its own, which is imported as a new process would; the process that fills the cache is counted,
    and this one compiles in its place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.fillings: list[Any] = []
        self.cache = folder / "__pycache__"
        monkeypatch.setattr(jit, "run_child", lambda *given, **_: self.fillings.append(given))
        (folder / "kernels_of_a_test.py").write_text("def twice(x):\n    return 2.0 * x\n", encoding="utf-8")

    def load(self) -> Any:
        jit._compile_all.cache_clear()
        importlib.invalidate_caches()
        kernels = importlib.reload(importlib.import_module("kernels_of_a_test"))
        kernel = jit.compiled("f8(f8)")(kernels.twice)
        assert kernel(4.0) == 8.0
        return kernel

    def files(self) -> list[Path]:
        return sorted(self.cache.glob("*.nb?"))


def test_what_is_not_stored_yet_is_compiled_by_another_process_and_what_is_stored_is_loaded(stored: Stored) -> None:
    for _ in range(2):
        kernel = stored.load()
        assert len(stored.fillings) == 1
    assert sum(kernel._cache_hits.values()) == 1


@pytest.mark.parametrize("which", [0, 1], ids=["code", "index"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: bytes(len(content)),
        lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
        lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
    ],
    ids=["empty", "half", "zeros", "half of zeros", "a flipped bit"],
)
def test_a_stored_file_that_is_not_whole_is_compiled_anew_and_replaced(
    stored: Stored, which: int, spoil: Callable[[bytes], bytes]
) -> None:
    stored.load()
    file = stored.files()[which]
    file.write_bytes(spoil(file.read_bytes()))
    stored.load()
    assert len(stored.fillings) == 2
    assert sum(stored.load()._cache_hits.values()) == 1
    assert len(stored.fillings) == 2


def test_whole_code_that_cannot_be_loaded_is_compiled_anew_and_replaced(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.load()
    rebuild, refusals = CompileResultCacheImpl.rebuild, [RuntimeError("no such relocation")]

    def refuse_once(*given: Any) -> Any:
        if refusals:
            raise refusals.pop()
        return rebuild(*given)

    monkeypatch.setattr(CompileResultCacheImpl, "rebuild", refuse_once)
    stored.load()
    assert len(stored.fillings) == 2
    assert sum(stored.load()._cache_hits.values()) == 1


def test_where_nothing_can_be_stored_one_process_tries_for_all_kernels(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit._SealedFiles, "is_whole", False)
    kernel = stored.load()
    jit.compiled("f4(f4)")(kernel.py_func)
    assert len(stored.fillings) == 1
