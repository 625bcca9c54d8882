"""Kernels are stored on disk where that is possible, and compiled in memory where it is not."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from quadra.model.kernels import jit


def twice(number: float) -> float:
    return 2.0 * number


def test_a_folder_that_cannot_be_written_does_not_hinder(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def without_a_folder(*arguments: Any, cache: bool = False, **options: Any) -> Any:
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return jit.njit(*arguments, **options)

    monkeypatch.setattr(jit, "_jit", without_a_folder)
    assert jit.compiled("f8(f8)")(twice)(4.0) == 8.0
    assert asked == [True, False]


def test_another_error_is_no_reason_to_compile_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "_jit", lambda *_, **__: lambda _function: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        jit.compiled()(twice)


def test_a_kernel_is_stored_under_a_name_that_changes_with_the_kernels() -> None:
    def kernel(number: float) -> float:
        return number

    jit.compiled()(kernel)
    assert kernel.__qualname__.endswith(f"_{jit._FINGERPRINT}")


def test_what_is_not_stored_yet_is_compiled_by_another_process_and_what_is_stored_is_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(jit.subprocess, "run", lambda *given, **_: calls.append(given))
    module = tmp_path / "kernels_of_a_test.py"
    module.write_text("def twice(x):\n    return 2.0 * x\n", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    for expected in (1, 1):
        importlib.invalidate_caches()
        kernels = importlib.reload(importlib.import_module("kernels_of_a_test"))
        assert jit.compiled("f8(f8)")(kernels.twice)(4.0) == 8.0
        assert len(calls) == expected
