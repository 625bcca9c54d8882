"""The proof that a saved state continues exactly: what it is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from quadra.errors import LoadError
from quadra.reports import prove


def test_a_process_that_cannot_train_is_told_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(LoadError, match="No saved state"):
        prove._train(tmp_path / "empty", 1)


def test_a_difference_of_one_bit_gives_another_digest() -> None:
    one = prove.digests({"a": 1.0, "b": {"c": [1, 2]}}, [])
    other = prove.digests({"a": 1.0 + 2**-52, "b": {"c": [1, 2]}}, [])
    assert one["a"] != other["a"]
    assert one["b"] == other["b"]
