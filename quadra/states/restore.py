"""Restores a saved state as an engine: on its own text where that is found, with its own settings; warns of differences."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from quadra.config import TrainingConfig, default_text_gain
from quadra.errors import BadFileError, CorpusError, InaccessibleFileError, LoadError, unreadable
from quadra.model.corpus import BUILT_IN_NAME, Corpus
from quadra.model.engine import Engine
from quadra.model.flat_tensors import require_device
from quadra.paths import expanded
from quadra.states.own_texts import id_of, open_corpus
from quadra.storage import legacy
from quadra.storage.layout import WEIGHTS
from quadra.storage.saved_state import NotSealedError, SavedState, read_save, require_finite

log = logging.getLogger("quadra")

# What Python and torch raise where an entry is of another kind or size: a seal can be forged.
_MISFITS = (LookupError, ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError)
_THREADS = 1  # of a step: on small fields more threads cost more than they bring


def complete_config(config: TrainingConfig) -> TrainingConfig:
    """Returns the configuration with all that a run's bits depend on fixed: seed, thread count and the text's gain."""
    seed = secrets.randbelow(2**32) if config.seed is None else config.seed
    gain = default_text_gain(config.field_size) if config.text_gain is None else config.text_gain
    return replace(config, seed=seed, threads=config.threads or _THREADS, text_gain=gain)


def read_any_format(file: Path, folder: Path, defaults: TrainingConfig, salvage: bool = False) -> SavedState:
    """Returns a saved state in the present or the legacy format; the latter becomes a run of its own. Raises a BadFileError."""
    try:
        return read_save(file, folder, salvage)
    except NotSealedError as unsealed:
        config = complete_config(defaults)
        corpus, _ = find_corpus({"path": config.corpus, "fingerprint": None}, defaults.corpus)
        state = legacy.convert(folder, unsealed.weights, config, corpus)
        require_finite(state)
        # A run of its own: the original files are then set aside as a run, not overwritten.
        return replace(state, record=replace(state.record, run=secrets.token_hex(8)))


def restore(state: SavedState, defaults: TrainingConfig, folder: Path | None = None) -> tuple[Engine, tuple[str, ...]]:
    """Returns an engine that continues a saved state, and warnings for people where it differs from the defaults.

    `folder`: the state directory that has the own texts. Raises DamagedFileError where the content does not fit the model,
    ConfigurationError for a device that is not there.
    """
    if defaults.device != "cpu":
        require_device(defaults.device)  # else every saved state would seem to be damaged
    threads = defaults.threads or state.config.threads
    config = complete_config(replace(state.config, device=defaults.device, threads=threads))
    try:
        corpus, warnings = find_corpus(state.engine["corpus"], defaults.corpus, state.record.imported, folder)
    except _MISFITS as error:
        raise _misfit(error) from error
    engine = build_engine(state, config, corpus)
    differences = (*config_differences(config, defaults), *_device_difference(state, engine))
    return engine, (*state.warnings, *warnings, *differences, *slowness(engine))


def build_engine(state: SavedState, config: TrainingConfig, corpus: Corpus) -> Engine:
    """Returns an engine with the content of a saved state.

    Raises DamagedFileError where that does not fit the model, InaccessibleFileError where this machine cannot make the engine
    now: the saved state is not to blame.
    """
    try:
        engine = Engine(config, corpus)
    except (*_MISFITS, MemoryError, OSError, ImportError) as error:
        raise InaccessibleFileError(WEIGHTS, f"an engine for it cannot be made now: {error!r}") from error
    try:
        engine.load_state_dict(state.engine)
    except _MISFITS as error:
        raise _misfit(error) from error
    return engine


def _misfit(error: Exception) -> BadFileError:
    return unreadable(WEIGHTS, f"its content does not fit the model: {error!r}", error)


def find_corpus(
    saved: Mapping[str, Any], default: str | None, imported: bool = False, folder: Path | None = None
) -> tuple[Corpus, tuple[str, ...]]:
    """Returns the text of a saved run (its `path` and `fingerprint`), else the text at its path, else the default one, and
    warnings for people. Raises LoadError where no text at all can be read now.

    `imported`: the path comes from another machine, and the text at it is shown on the page: it is used where it is the run's
    own text, and otherwise only where new runs get theirs from it too.
    """
    found: list[Corpus] = []
    for path in dict.fromkeys((saved["path"], default, None)):
        if path not in (default, None) and not (Path(path).is_absolute() or id_of(path)):
            continue  # of another system: here it would be a place within the working folder
        try:
            corpus = open_corpus(path, folder)
            if corpus.fingerprint == saved["fingerprint"]:
                return corpus, () if corpus.has_position(saved) else (_position_lost(corpus),)
            corpus.require_utf8()
        except CorpusError as error:
            log.info("%s", error)
            continue
        if saved["fingerprint"] is None and not imported:
            return corpus, ()
        if not imported or path in (default, None):
            found.append(corpus)
    if not found:
        raise LoadError(
            "No text can be read now, not even the built-in one; the log has the reasons. The saved state is whole."
        )
    name = f"the {BUILT_IN_NAME}" if saved["path"] is None else str(saved["path"])
    warning = (
        f"This run was trained on {name}, which has changed or is not there any more. It continues on {found[0].name}, "
        "from its beginning; its bits will not be those of the original text. With --corpus and the place of that text on "
        "this machine, a load finds it by its content."
    )
    return found[0], (warning,)


def _position_lost(corpus: Corpus) -> str:
    return (
        f"The text {corpus.name} was longer while this run was trained on it, and its place lies beyond the end of the text "
        "as it is now. It continues from the beginning; its bits will not be those of the longer text."
    )


def _device_difference(state: SavedState, engine: Engine) -> tuple[str, ...]:
    """Returns a warning where the generator of random samples is of another device or torch and could not be restored."""
    if engine.has_samples_generator(state.engine["generators"]):
        return ()
    saved, present = state.config.device, engine.config.device
    if saved.split(":")[0] == present.split(":")[0]:
        saved, present = "another version of torch", "this one"
    return (
        f"This run was trained on {saved} and continues on {present}: everything is restored but the generator of random "
        "samples, which starts fresh there; its bits will not be those that it would have had there.",
    )


def slowness(engine: Engine) -> tuple[str, ...]:
    """Returns a warning where torch must train on the CPU."""
    if engine.slow_because is None:
        return ()
    return (
        f"The compiled training step cannot be used here ({engine.slow_because}). Torch trains instead: slower, and rounded "
        "otherwise. Once that is mended, a restart brings the compiled step back.",
    )


def config_differences(config: TrainingConfig, asked: TrainingConfig) -> tuple[str, ...]:
    """Returns a sentence for each setting in which a loaded run differs from what was asked for new runs."""
    differences = []
    if asked.field_size != config.field_size:
        differences.append(
            f"The loaded run keeps its field size {config.field_size} (new runs get {asked.field_size})."
        )
    if asked.seed is not None and asked.seed != config.seed:
        differences.append(f"The loaded run keeps its seed {config.seed} (new runs get {asked.seed}).")
    if asked.corpus is not None and not _is_same_path(asked.corpus, config.corpus):
        text = config.corpus or f"({BUILT_IN_NAME})"
        differences.append(f"The loaded run keeps its corpus {text} (new runs get {asked.corpus}).")
    return tuple(differences)


def _is_same_path(asked: str, saved: str | None) -> bool:
    if saved is None or asked == saved:
        return asked == saved
    try:
        return expanded(asked).absolute() == Path(saved).absolute()
    except OSError:  # the working folder is gone
        return False
