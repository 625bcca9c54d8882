"""Where a request ends, told from its bytes as they come in."""

from __future__ import annotations

import pytest

from quadra.web.serving.incoming_request import LONGEST_HEAD, MOST_HELD, IncomingRequest, Stage

GET = b"GET /health?ready HTTP/1.1\r\nHost: here\r\n\r\n"
POST = b"POST /login HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\n\r\ntoken"
CHUNKED = b"POST /login HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntok\r\n2;x=y\r\nen\r\n0\r\n\r\n"
TRAILERS = CHUNKED[:-2] + b"Digest: abc\r\n\r\n"


def stage_after(data: bytes) -> Stage:
    request = IncomingRequest()
    request.add(data)
    return request.stage


@pytest.mark.parametrize("whole", [GET, POST, CHUNKED, TRAILERS, b"\r\n" + GET], ids=range(5))
def test_a_request_is_ready_with_its_last_byte_and_not_before_however_it_is_cut(whole: bytes) -> None:
    single = IncomingRequest()
    for position in range(1, len(whole) + 1):
        assert single.stage is not Stage.READY
        single.add(whole[position - 1 : position])
        assert stage_after(whole[:position]) is single.stage
    assert (single.stage, single.take()) == (Stage.READY, whole)


def test_a_request_goes_from_idle_over_head_and_body() -> None:
    request, stages = IncomingRequest(), []
    for piece in (POST[:9], POST[9:12], POST[12:-3], POST[-3:]):
        request.add(piece)
        stages.append(request.stage)
    assert stages == [Stage.HEAD, Stage.HEAD, Stage.BODY, Stage.READY]
    assert IncomingRequest().stage is Stage.IDLE


@pytest.mark.parametrize(
    "wrong",
    [
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/1.1\r\nHost: here\n",
        b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + 1001 * b"0",
    ],
)
def test_what_can_be_no_request_is_handed_on_at_once(wrong: bytes) -> None:
    assert stage_after(wrong) is Stage.READY


def test_a_head_without_an_end_is_told_from_a_long_one() -> None:
    assert stage_after(b"GET /" + (LONGEST_HEAD - 5) * b"a") is Stage.HEAD
    assert stage_after(b"GET /" + LONGEST_HEAD * b"a") is Stage.OVERLONG


@pytest.mark.parametrize("length", [str(MOST_HELD + 1), 400 * "9"])
def test_a_body_that_is_too_large_to_be_held_is_not_waited_for(length: str) -> None:
    assert stage_after(b"POST / HTTP/1.1\r\ncontent-length:" + length.encode() + b"\r\n\r\n") is Stage.LARGE


def test_chunks_that_are_too_many_to_be_held_are_not_waited_for() -> None:
    request = IncomingRequest()
    request.add(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(MOST_HELD // 0x1008 + 1):
        assert request.stage is Stage.BODY
        request.add(b"1000\r\n" + 0x1000 * b"a" + b"\r\n")
    assert request.stage is Stage.LARGE


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/health?ready", "/health"),
        ("/", "/"),
        ("http://here:5000/socket.io/?x", "/socket.io/"),
        ("/%73ocket.io/", "/socket.io/"),
        ("http://here", ""),
    ],
)
def test_a_path_is_what_the_application_will_see(target: str, path: str) -> None:
    request = IncomingRequest()
    request.add(f"GET {target} HTTP/1.1\r\n\r\n".encode())
    assert request.path == path


def test_an_expectation_is_taken_once_and_the_rest_stays_what_it_was() -> None:
    request = IncomingRequest()
    request.add(POST[:-5].replace(b"\r\nContent", b"\r\nExpect: 100-continue\r\nContent"))
    assert [request.take_expectation(), request.take_expectation()] == [True, False]
    request.add(POST[-5:])
    assert (request.stage, request.take()) == (Stage.READY, POST)
