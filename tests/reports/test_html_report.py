"""The report of a saved state: what stands in it, whatever the state and its texts are."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from quadra import __version__
from quadra.errors import LoadError
from quadra.model.history import checksum_of
from quadra.reports.html_report import report
from quadra.reports.tables import SHADES
from quadra.storage.saved_state import SavedState
from tests.helpers.documents import Document
from tests.helpers.state_helpers import RUN_A, saved_states

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
HOSTILE = """</title><script>alert("1")</script><img src=x onerror='alert(2)'>&amp; "quoted" 'single' {{ 7 * 7 }}"""
(STATE,) = saved_states(30)


def made(state: SavedState, name: str = "A name", note: str = "") -> tuple[str, Document]:
    html = report(state, name, NOW, note)
    return html, Document(html)


def with_rows(state: SavedState, rows: NDArray[np.float32], **engine: Any) -> SavedState:
    """The state as it would be with another history."""
    known = replace(state.record, iteration_count=len(rows), history_sha256=checksum_of(rows))
    steps = {"step": state.config.epochs * len(rows)}
    return replace(state, record=known, rows=rows, engine={**state.engine, "optimizer": steps, **engine})


def with_parts(state: SavedState, **engine: Any) -> SavedState:
    return replace(state, engine={**state.engine, **engine})


def test_a_report_says_what_the_state_is() -> None:
    html, document = made(STATE, "First try", "Ten lines\nof a note")
    manager: Mapping[str, Any] = STATE.engine["neuroplasticity"]
    expected = (
        "QuadraMatrix: report of a saved state First try",
        "Iteration 30",
        f"Run {RUN_A}",
        "Saved 2026-01-01 00:00:00 UTC",
        "Ended stopped",
        "Seed 1",
        "Field size 8 cells",
        f"Q-table {len(STATE.engine['q_table'])} states",
        f"Plasticity {manager['plasticity']:.6g}",
        f"Success streak {manager['success_streak']}",
        "Integrity strikes 0",
        "Adam steps 90",
        "Text built-in corpus",
        f"Fingerprint of the text {STATE.engine['corpus']['fingerprint']}",
        f"SHA-256 of the history {checksum_of(STATE.rows)}",
        f"quadramatrix {__version__}",
        "Written 2026-02-03 04:05:06 UTC",
        "python -m quadra.prove dashboard_state",
    )
    assert [piece for piece in expected if piece not in document.text] == []
    assert document.of("title") == ["First try (QuadraMatrix, iteration 30)"]
    assert document.of("p")[1] == "Ten lines\nof a note"
    assert {"torch", "numpy", "numba", "python"} <= set(document.of("dt"))
    assert 'class="warning"' not in html


def test_every_figure_of_the_table_is_that_of_the_history() -> None:
    _, document = made(STATE)
    for column in range(4):
        values = STATE.rows[:, column].astype(np.float64)
        for number in (values[0], values[-1], values.min(), values.max(), values.mean(), np.median(values)):
            assert f"{number:.6g}" in document.of("td")
    assert f"at {int(STATE.rows[:, 0].argmin()) + 1}" in document.of("small")


def test_the_q_table_and_the_configuration_are_complete() -> None:
    html, document = made(STATE)
    for row in STATE.engine["q_table"].values():
        for value in row.values():
            assert f"{value:.3f}" in document.of("td")
    assert len(re.findall(r'class="shade-\d greedy"', html)) == len(STATE.engine["q_table"])
    assert set(STATE.engine["q_table"]) <= set(document.of("th"))
    assert set(STATE.config.as_dict()) <= set(document.of("code"))
    assert all(f".shade-{shade} {{" in html for shade in range(SHADES))


def test_a_report_is_one_file_that_asks_for_nothing() -> None:
    html, document = made(STATE, HOSTILE, HOSTILE)
    assert html.startswith("<!DOCTYPE html>\n<html lang=")
    style = re.search("<style>(.*?)</style>", html, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"""content="default-src 'none'; style-src 'sha256-{digest}'; img-src data:\"""" in html
    assert not document.tags & {"script", "img", "iframe", "object", "embed", "form", "base", "use", "image", "a"}
    assert document.handlers == []
    assert [address.split(",")[0] for address in document.addresses] == ["data:image/svg+xml"]
    assert not re.search(r"url\(|@import|srcset|refresh", html)
    assert set(re.findall(r"https?://[^\"'\s<)]+", html)) == {"http://www.w3.org/2000/svg"}


def test_the_four_charts_are_well_formed_drawings() -> None:
    html, _ = made(STATE)
    charts = re.findall(r"<figure>(.*?)</figure>", html, re.DOTALL)
    labels = [(ElementTree.fromstring(chart).get("aria-label") or "").split(" over ")[0] for chart in charts]
    assert labels == ["Loss", "Reward", "Field variance", "Field mean"]


def test_free_texts_stay_texts() -> None:
    state = with_parts(
        replace(STATE, warnings=(HOSTILE,), config=replace(STATE.config, corpus=HOSTILE)),
        corpus={"path": HOSTILE, "fingerprint": HOSTILE},
        q_table={HOSTILE: {"update_field": 1.0}},
    )
    html, document = made(state, HOSTILE, HOSTILE)
    assert document.of("bdi") == [HOSTILE]
    assert document.of("title")[0].startswith(HOSTILE)
    assert document.of("p").count(HOSTILE) == 2
    assert document.of("dd").count(HOSTILE) == 2
    assert document.of("th").count(HOSTILE) == document.of("td").count(HOSTILE) == 1
    assert "<script" not in html
    assert "onerror='" not in html
    assert "{{ 7 * 7 }}" in html


def test_a_text_that_utf_8_cannot_hold_comes_out_as_an_escape() -> None:
    state = with_parts(STATE, corpus={"path": "/texts/\udcff.txt", "fingerprint": "f"})
    html, document = made(state, "a\ud800b\0\u202ec")
    html.encode("utf-8")
    assert "/texts/\\udcff.txt" in document.of("dd")
    assert document.of("bdi")[0].startswith("a\\ud800b")


@pytest.mark.parametrize("name", ["", " \n "])
def test_a_state_without_a_name_has_a_title_all_the_same(name: str) -> None:
    _, document = made(STATE, name)
    assert document.of("bdi") == ["Saved state"]


def test_lost_rows_are_told_counted_and_left_out() -> None:
    rows = STATE.rows.copy()
    rows[10:13] = np.nan
    html, document = made(with_rows(STATE, rows))
    assert "The metrics of 3 of 30 iterations are lost." in document.text
    assert "Here 3 rows of it are lost." in document.text
    assert "Over 30 iterations, without the lost ones" in document.text
    assert "count 27 27 27 27 lost 3 3 3 3" in document.text
    assert f"{np.nanmean(rows[:, 1].astype(np.float64)):.6g}" in document.of("td")
    assert "nan" not in html.lower().replace("/nan", "")


def test_a_history_that_has_another_checksum_is_told() -> None:
    state = replace(STATE, record=replace(STATE.record, history_sha256="0" * 64))
    assert "does not have the checksum" in made(state)[1].text
    assert "does not have the checksum" not in made(STATE)[1].text


def test_a_state_before_its_first_iteration_has_a_report() -> None:
    (state,) = saved_states(0)
    html, document = made(state)
    assert "no iteration has been trained yet" in document.text
    assert "It is empty: no action has been taken yet." in document.text
    assert "Mean reward, running none" in document.text
    assert "Train until" not in document.text
    assert "Statistics" not in document.of("h2")
    assert "<svg" not in html


def test_a_state_after_one_iteration_has_a_report() -> None:
    (state,) = saved_states(1)
    html, document = made(state)
    assert "Over 1 iteration, to six digits" in document.text
    assert html.count("<circle") == 4
    assert "Every iteration is drawn." in document.text


def test_a_run_of_a_million_iterations_stays_small_and_shows_its_spike() -> None:
    generator = np.random.default_rng(2)
    rows = generator.normal(0.5, 0.1, (1_000_000, 4)).astype(np.float32)
    rows[654_321, 2] = 77.0
    state = with_rows(STATE, rows, q_table={f"{n / 100}": {"update_field": n / 7} for n in range(-100, 200)})
    html, document = made(state)
    assert len(html.encode("utf-8")) < 500_000
    assert "thinned so that no extreme vanishes" in document.text
    assert "at 654,322" in document.of("small")


def test_a_run_that_an_earlier_generation_began_is_not_said_to_follow_from_its_seed() -> None:
    _, document = made(with_parts(STATE, optimizer={"step": 6}))
    assert "its optimizer has taken 6 steps, where 30 iterations take 90" in document.text
    assert "python app.py" not in document.text
    assert "TrainingConfig(" not in document.text


def test_a_configuration_that_no_option_can_give_is_given_as_a_program() -> None:
    _, document = made(STATE)
    assert "Some settings of this run cannot be given as options." in document.text
    assert any("field_update_hidden=5" in text for text in document.of("pre"))
    plain = saved_states(1, field_update_hidden=64, syntropy_hidden=32, feedback_hidden=48)[0]
    assert "python app.py --state-dir reproduction --seed 1 --field-size 8 --pace max" in made(plain)[1].of("pre")


@pytest.mark.parametrize(
    "engine",
    [
        {"neuroplasticity": {}},
        {"neuroplasticity": None},
        {"q_table": [1]},
        {"q_table": {"0.1": {"update_field": "much"}}},
        {"corpus": {"path": None}},
        {"optimizer": {"step": "many"}},
    ],
)
def test_a_forged_state_without_what_belongs_in_it_is_refused(engine: dict[str, Any]) -> None:
    with pytest.raises(LoadError, match="does not hold what belongs in it"):
        made(with_parts(STATE, **engine))


@pytest.mark.parametrize("moment", ["12:12", "0001-01-01T00:00:00+23:59", "2026-01-01T00:00:00", "Z"])
def test_a_moment_that_is_none_stays_as_it_is(moment: str) -> None:
    assert f"Saved {moment} " in made(replace(STATE, record=replace(STATE.record, saved_at=moment)))[1].text
