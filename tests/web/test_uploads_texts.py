"""Own texts over HTTP: what is taken, what is refused, and that nothing of it stays lying about."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from quadra.web import uploads
from tests.helpers.site import Site
from tests.helpers.waiting import PATIENCE

TEXT = "One line.\nAnother, größer.\n".encode()
ID = hashlib.sha256(TEXT).hexdigest()


def send(site: Site, text: bytes, query: str = "?name=mine.txt", **options: Any) -> Any:
    return site.http.post(f"/api/corpus{query}", data=text, content_type="text/plain", **options)


def assert_nothing_lies_about(folder: Path) -> None:
    assert not list((folder / "uploads").glob("*"))


def test_a_text_is_taken_listed_and_trained_on(site: Site, tmp_path: Path) -> None:
    answer = send(site, TEXT)
    assert answer.status_code == 200
    assert answer.get_json() == {"id": ID, "name": "mine.txt", "lines": 2, "bytes": len(TEXT), "cut": 0}
    status = site.http.get("/api/status").get_json()
    assert status["texts"] == [answer.get_json()]
    assert status["own_text"] is None
    assert site.ask("initialize_system", {"corpus": ID})["ok"]
    assert site.ask("start_training", {"until": 3})["ok"]
    while site.http.get("/api/status").get_json()["running"]:
        site.worker.set_pace(None).result(PATIENCE)
    status = site.http.get("/api/status").get_json()
    assert (status["corpus"], status["own_text"]) == ("mine.txt", ID)
    assert status["current_metrics"]["text"] == "One line."
    assert_nothing_lies_about(tmp_path / "state")


def test_the_same_text_under_another_name_is_one_text_with_the_new_name(site: Site) -> None:
    assert send(site, TEXT).status_code == 200
    assert send(site, TEXT, "?name=poems").get_json()["name"] == "poems"
    assert send(site, b"another\n", "").get_json()["name"].startswith("own text ")
    names = [text["name"] for text in site.http.get("/api/status").get_json()["texts"]]
    assert len(names) == 2
    assert "poems" in names


@pytest.mark.parametrize(
    ("text", "reason"), [(b"", "no line"), (b" \n \n", "no line"), (b"PK\x03\x04\0\0", "not plain text")]
)
def test_what_is_no_text_is_refused_and_leaves_nothing(site: Site, tmp_path: Path, text: bytes, reason: str) -> None:
    answer = send(site, text)
    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "corpus_unusable"
    assert reason in answer.get_json()["error"]["message"]
    assert site.http.get("/api/status").get_json()["texts"] == []
    assert_nothing_lies_about(tmp_path / "state")


def test_more_than_the_limit_is_not_read(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "LARGEST_TEXT", 1000)
    answer = send(site, b"x" * 1001)
    assert answer.status_code == 413
    assert "error" in answer.get_json()
    assert send(site, b"x" * 1000).status_code == 200
    assert_nothing_lies_about(tmp_path / "state")


def test_another_site_may_not_send_one(site: Site) -> None:
    assert send(site, TEXT, headers={"Origin": "http://elsewhere.example"}).status_code == 403
    assert site.http.get("/api/status").get_json()["texts"] == []


def test_a_text_that_is_not_there_is_refused_by_its_field(site: Site) -> None:
    for choice in ("0" * 64, "../x", 7):
        error = site.ask("initialize_system", {"corpus": choice})["error"]
        assert error["code"] == "invalid_value"
        assert error["message"].startswith("corpus ")


def test_reset_takes_own_texts_off_the_list(site: Site, tmp_path: Path) -> None:
    send(site, TEXT)
    assert site.http.get("/api/status").get_json()["reset_deletes"] == ["corpora/ (2 files)"]
    assert site.ask("reset_system")["ok"]
    assert site.http.get("/api/status").get_json()["texts"] == []
    assert not (tmp_path / "state" / "corpora").exists()
