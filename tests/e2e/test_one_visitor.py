"""One visitor who sends without pause must not stop another: through a running server, by client and by page event."""

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import httpx
import pytest
from gradio_client import Client

from tests.e2e.test_endpoints import started

DELAY = 0.02  # seconds of a scripted token
TOKENS = 32
ASKED = ["Hello there", "knn", TOKENS, 0.0, 1]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process, where = started(tmp_path_factory.mktemp("one-visitor"), delay=DELAY)
    yield f"{where.rstrip('/')}/"
    process.kill()
    process.wait()


def seconds(action: Callable[[], Any]) -> float:
    began = time.monotonic()
    action()
    return time.monotonic() - began


@contextmanager
def flood(address: str, send: Callable[[httpx.Client], httpx.Response]) -> Iterator[Counter[str]]:
    """Send without pause from four threads, and count what comes back."""
    answers: Counter[str] = Counter()
    over = threading.Event()

    def go() -> None:
        with httpx.Client(base_url=f"{address}gradio_api/", timeout=60) as client:
            while not over.is_set():
                answer = send(client)
                answers[f"{answer.status_code} {'' if answer.status_code == 200 else answer.text}"] += 1

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1.0)  # the line is full by then
    try:
        yield answers
    finally:
        over.set()
        for thread in threads:
            thread.join(70)


def ask(client: httpx.Client) -> httpx.Response:
    return client.post("call/ask", json={"data": ASKED})


def ask_in_a_new_session(client: httpx.Client) -> httpx.Response:
    return client.post("call/ask", json={"data": ASKED, "session_hash": uuid.uuid4().hex})


def event_of_the_page(client: httpx.Client) -> httpx.Response:
    """Send a callback of the page, another one each time, as another session."""
    if client not in _callbacks:
        _callbacks[client] = client.get("../config").json()["dependencies"]
    one = _callbacks[client][int(time.monotonic() * 1000) % len(_callbacks[client])]
    body = {"data": [None] * len(one["inputs"]), "fn_index": one["id"], "session_hash": uuid.uuid4().hex}
    return client.post("queue/join", json=body)


_callbacks: WeakKeyDictionary[httpx.Client, Any] = WeakKeyDictionary()


def labels(client: httpx.Client) -> httpx.Response:
    return client.post("call/labels", json={"data": [100]})


@pytest.mark.parametrize("send", [ask, ask_in_a_new_session, event_of_the_page, labels])
def test_another_visitor_is_served_meanwhile(address: str, send: Callable[[httpx.Client], httpx.Response]) -> None:
    visitor = Client(address, verbose=False)
    quiet = seconds(lambda: visitor.predict(*ASKED, api_name="/ask"))
    duel = visitor.predict("Which?", "expert:math", "expert:base", 8, api_name="/compare")
    slow = seconds(lambda: visitor.predict(10, api_name="/labels")) * 8  # on a machine that is busy with other things
    with flood(address, send) as answers:
        assert seconds(lambda: httpx.get(address, timeout=20).raise_for_status()) < 3
        assert seconds(lambda: visitor.predict(duel["comparison_id"], "a", api_name="/vote")) < max(1, slow)
        assert seconds(lambda: visitor.predict(10, api_name="/labels")) < max(1, slow)
        assert seconds(lambda: visitor.predict(*ASKED, api_name="/ask")) < 5 * quiet
    assert answers["200 "] > 0
    refused = " ".join(answers)
    assert "Queue is full" not in refused
    if send is ask:
        assert "Wait until one is answered, then send again." in refused


def test_whoever_sends_too_much_is_told_so_in_our_words(address: str) -> None:
    visitor = Client(address, verbose=False)
    told = []
    for job in [visitor.submit(*ASKED, api_name="/ask") for _ in range(30)]:
        error = job.exception(timeout=60)
        told += [] if error is None else [str(error)]
    assert 0 < len(told) < 30
    assert "requests waiting already. Wait until one is answered, then send again." in told[-1]
    assert "Queue is full" not in " ".join(told)


def test_the_model_is_reached_through_the_queue_only(address: str) -> None:
    answer = httpx.post(f"{address}gradio_api/run/ask", json={"data": ASKED}, timeout=20)
    assert answer.status_code == 404


def test_a_foreign_name_is_refused(address: str) -> None:
    answer = httpx.get(address, headers={"host": "evil.example"}, timeout=20)
    assert answer.status_code == 400


def test_guessing_the_password_is_slow_and_noted(tmp_path: Path) -> None:
    process, where = started(tmp_path, PLAYGROUND_ADMIN_PASSWORD="correct horse")
    try:
        client = Client(where, verbose=False)
        told = []
        for guess in ["a", "b", "c", "d", "e", "f", "correct horse"]:
            with pytest.raises(Exception) as refused:  # noqa: PT011  the client has one kind of error
                client.predict("linear-shipped-9f8e7d6c", guess, api_name="/promote")
            told.append(str(refused.value))
    finally:
        process.kill()
        process.wait()
    assert all("Type the admin password." in one for one in told[:5])
    assert all("Too many wrong passwords" in one for one in told[5:])  # the right one is not looked at either


BAD: tuple[tuple[str, Any], ...] = (
    ("call/ask", {"data": [{"a": 1}]}),
    ("call/ask", {"data": ["x", ["knn"]]}),
    ("call/ask", {"data": ["x", "knn", "many"]}),
    ("call/ask", {"data": []}),
    ("call/ask", {"data": ["x"] * 9}),
    ("call/labels", {"data": [{}]}),
    ("call/vote", {"data": ["\ud800", {}]}),
    ("call/nobody", {"data": []}),
    ("call/undo", {"data": ["\x00", "\ud800"]}),
    ("queue/join", {"data": [], "fn_index": 9999, "session_hash": "x"}),
    ("queue/join", {"data": [{}], "fn_index": 20, "session_hash": "x"}),
    ("queue/join", {"data": "x", "fn_index": 20, "session_hash": "x"}),
    ("component_server", {"data": {}, "component_id": 99999, "fn_name": "attention", "session_hash": "x"}),
    ("component_server", {"data": {}, "component_id": 1, "fn_name": "postprocess", "session_hash": "x"}),
    ("component_server", "x"),
)


def test_bad_inputs_are_answered_plainly_and_fill_no_log(tmp_path: Path) -> None:
    with (tmp_path / "errors.log").open("w+") as log:
        process, where = started(tmp_path, log=log)
        try:
            with httpx.Client(base_url=f"{where.rstrip('/')}/gradio_api/", timeout=20) as client:
                answers = [(path, _answer(client, path, body)) for path, body in BAD * 4]
        finally:
            process.kill()
            process.wait()
        log.seek(0)
        written = log.read()
    assert [one for one in answers if "Something broke" in one[1] or one[1].startswith("5")] == []
    assert len(written) < 1000 * len(answers)
    assert written.count("Traceback") <= 10


def _answer(client: httpx.Client, path: str, body: Any) -> str:
    """Return status and text of a request, or what its stream says."""
    answer = client.post(path, content=json.dumps(body), headers={"content-type": "application/json"})
    if not path.startswith("call/") or answer.status_code != 200:
        return f"{answer.status_code} {answer.text}"
    return client.get(f"{path}/{answer.json()['event_id']}").text
