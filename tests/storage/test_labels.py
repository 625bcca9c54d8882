"""Labels: either of the two files is enough, and what is no list of labels is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra.errors import BadFileError, ConfigurationError
from quadra.storage.labels import LONGEST_NAME, Label, checked_name, read_labels, write_labels
from quadra.storage.layout import LABELS, LABELS_COPY


@given(st.text(max_size=LONGEST_NAME + 5))
def test_every_name_is_refused_or_read_back_as_it_is_shown(name: str) -> None:
    try:
        checked = checked_name(name)
    except ConfigurationError:
        return
    assert checked_name(checked) == checked
    checked.encode()


@pytest.mark.parametrize("damaged", [LABELS, LABELS_COPY])
def test_either_file_of_labels_may_be_lost(tmp_path: Path, damaged: str) -> None:
    write_labels(tmp_path, {"a": Label(name="x")})
    (tmp_path / damaged).write_bytes(b"{")
    assert read_labels(tmp_path) == {"a": Label(name="x")}


@pytest.mark.parametrize("content", [b"", b"null", b'{"states": {"a": {}}}', b'{"states": {"a": 1}}', b"[" * 10_000])
def test_what_is_no_list_of_labels_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LABELS).write_bytes(content)
    with pytest.raises(BadFileError, match=LABELS):
        read_labels(tmp_path)
