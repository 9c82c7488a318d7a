"""What changes by itself is told apart from what says something, and failures from reports about them."""

import pytest

from gateway.core.loop_text import PLAIN_BYTES_MAX, ResultKind, failed, reports_measure, result_kind, without_changing

UUID = "3f2b1c9a-aaaa-bbbb-cccc-0123456789ab"


@pytest.mark.parametrize(
    "changing",
    [
        *(UUID, UUID.upper(), "2026-11-24", "2026-11-24T10:00:01.123Z", "2026-11-24T10:00:01+01:00", "10:00:01"),
        *(
            "1764106313",
            "1764106313123",
            "1764106313.25",
            "9fceb02d0ae598e95dc970b74767f19372d61af8",
            "4bf92f3577b34da6",
        ),
    ],
)
def test_ids_and_times_are_taken_out(changing: str) -> None:
    text = f"job {changing}, please"
    assert without_changing(text.encode()) == b"job \x00, please"


@pytest.mark.parametrize(
    "text", ["page 17 of 30", "12345.6789", "192.168.100.200", "feedback", "deadbeefcafe", "v1.22.333", "+49 30 123"]
)
def test_what_may_say_something_stays(text: str) -> None:
    assert without_changing(text.encode()) == text.encode()


def test_long_texts_are_not_read() -> None:
    text = (UUID * 100).encode()
    assert len(text) > PLAIN_BYTES_MAX
    assert without_changing(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("Error: no such file", "error executing tool x: bad", "ValueError: bad", "openai.APIError: x", "FATAL: gone"),
        *("Traceback (most recent call last):\n", '{"error": "x"}', '{"code": 1, "status": "error"}', "timed out"),
        *("Request failed with status code 500", "HTTP 503 Service Unavailable", "Exit code 1\nx", "Permission denied"),
        *('{"ok": false}', "Tool 'a' is not allowed: policy", "<error>x</error>", "Connection error (reset)", "error"),
        "Failed to connect",
    ],
)
def test_answers_that_say_they_failed(text: str) -> None:
    assert failed(text)


@pytest.mark.parametrize(
    "text",
    [
        *("ERROR 2026-11-01 lost a packet", "Errors are documented here", '{"error": null, "rows": [1]}', "ok", ""),
        *(
            "FAILED tests/test_a.py - assert 1 == 2",
            "The error handling module:",
            "0 errors",
            "500 rows",
            "def fail(): x",
        ),
    ],
)
def test_answers_that_speak_of_failures(text: str) -> None:
    assert not failed(text)


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (
            ResultKind.DONE,
            ["ok", '{"success": true}', "File updated.", "No issues found.", '{"errors": []}', "Saved 3"],
        ),
        (ResultKind.EMPTY, ["", "[]", "{}", "null", "No results found", "0 matches", '{"items": []}', "nothing"]),
        (ResultKind.SHORT, ["spam", "42", "pending", '{"label": "spam"}']),
        (ResultKind.LONG, ["word " * 100, "a sentence that is longer than what a label or a figure would take up"]),
    ],
)
def test_what_an_answer_means(kind: ResultKind, texts: list[str]) -> None:
    assert [result_kind(text[:240], len(text)) for text in texts] == [kind] * len(texts)


@pytest.mark.parametrize("text", ["40 %", "progress 3", '{"state": "x"}', "3 of 10", "12 passed", "price: 3.50"])
def test_numbers_that_measure(text: str) -> None:
    assert reports_measure(text)


@pytest.mark.parametrize("text", ["result 7", '{"id": 7, "text": "milk"}', "note 12 added"])
def test_numbers_that_only_number(text: str) -> None:
    assert not reports_measure(text)
