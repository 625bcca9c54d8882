"""On what a loaded run continues: its own text where that can be found, its own settings always; a difference is said."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quadra.config import TrainingConfig
from quadra.errors import CorpusError
from quadra.text import BUILT_IN_NAME, Corpus

log = logging.getLogger("quadra")


def text_for(saved: Mapping[str, Any], default: str | None) -> tuple[Corpus, tuple[str, ...]]:
    """The text of a saved run (its `path` and `fingerprint`), else the text at its path, else the default one."""
    found: list[Corpus] = []
    for path in dict.fromkeys((saved["path"], default, None)):
        try:
            corpus = Corpus(path)
        except CorpusError as error:
            log.info("%s", error)
            continue
        if saved["fingerprint"] in (None, corpus.fingerprint):
            return corpus, ()
        found.append(corpus)
    name = f"the {BUILT_IN_NAME}" if saved["path"] is None else str(saved["path"])
    warning = (
        f"This run was trained on {name}, which has changed or is not there any more. It continues on {found[0].name}, "
        "from its beginning; its bits will not be those of the original text."
    )
    return found[0], (warning,)


def kept(config: TrainingConfig, asked: TrainingConfig) -> tuple[str, ...]:
    """Where a loaded run differs from what was asked for new runs."""
    differences = []
    if asked.field_size != config.field_size:
        differences.append(
            f"The loaded run keeps its field size {config.field_size} (new runs get {asked.field_size})."
        )
    if asked.seed is not None and asked.seed != config.seed:
        differences.append(f"The loaded run keeps its seed {config.seed} (new runs get {asked.seed}).")
    if asked.corpus is not None and Path(asked.corpus).absolute() != Path(config.corpus or "").absolute():
        text = config.corpus or f"({BUILT_IN_NAME})"
        differences.append(f"The loaded run keeps its corpus {text} (new runs get {asked.corpus}).")
    return tuple(differences)
