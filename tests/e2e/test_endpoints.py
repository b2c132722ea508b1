"""The page's named endpoints from another process, and votes that outlive a killed server."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from gradio_client import Client

from playground.store.database import Database
from playground.store.label_views import current_labels

SERVER = Path(__file__).with_name("serve_scripted.py")
ENDPOINTS = {
    "ask",
    "again",
    "run",
    "compare",
    "vote",
    "undo",
    "labels",
    "finetune",
    "promote",
    "rollback",
    "versions",
    "routers",
    "experts",
    "check_adapter",
    "add_expert",
    "remove_expert",
}


def started(
    folder: Path, *, delay: float = 0.0, log: IO[str] | None = None, **settings: str
) -> tuple[subprocess.Popen[str], str]:
    """Return (process, address) of a server over a database in `folder`. Its errors go to `log`."""
    environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False", "OMP_NUM_THREADS": "1", **settings}
    process = subprocess.Popen(
        [sys.executable, str(SERVER), str(folder), str(delay)],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        env=environment,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "http://" in line:
            return process, line.split()[-1]
    raise AssertionError("the server did not start")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    process, address = started(tmp_path_factory.mktemp("endpoints"))
    yield Client(address, verbose=False)
    process.kill()
    process.wait()


def test_only_the_named_endpoints_are_public(client: Any) -> None:
    listed = client.view_api(return_format="dict")
    assert {name.strip("/") for name in listed["named_endpoints"]} == ENDPOINTS
    assert not listed["unnamed_endpoints"]


def test_ask_answers_with_weights_and_why(client: Any) -> None:
    answer = client.predict("What is 37 * 24 + 15?", "knn", api_name="/ask")
    assert answer["expert"] == "math"
    assert abs(sum(answer["weights"].values()) - 1) < 1e-5
    assert answer["explanation"].startswith("kNN")
    assert {"encode_s", "decide_s", "first_token_s", "total_s"} <= set(answer["timings"])
    gate = client.predict("Hello", "lora_mixer", api_name="/ask")
    assert gate["layer_weights_shape"] == [38, 30, 5]
    again = client.predict(gate["run_id"], {"leave_out": ["math"]}, api_name="/again")
    assert "math" not in again["again"]["weights"]
    assert set(again["likelihoods"]) >= {"first_by_second", "second_by_first"}


def test_run_streams_and_ends_like_ask(client: Any) -> None:
    parts = list(client.submit("Hello", "lora_mixer", api_name="/run"))
    assert len(parts) > 3
    assert parts[-1]["answer"].startswith(parts[2].get("text", ""))
    assert "weights" in parts[1]


def test_errors_say_what_to_do(client: Any) -> None:
    with pytest.raises(Exception, match="Type a prompt"):
        client.predict("  ", api_name="/ask")
    with pytest.raises(Exception, match="Choose one of: manual"):
        client.predict("Hello", "nobody", api_name="/ask")
    with pytest.raises(Exception, match="no such comparison"):
        client.predict("none", "a", api_name="/vote")
    with pytest.raises(Exception, match="No verdict is called 'left <b>'"):  # as it is, not escaped for a page
        client.predict("none", "left <b>", api_name="/vote")


def test_compare_is_blind_until_the_vote_and_undo_is_ones_own(client: Any) -> None:
    duel = client.predict("Which?", "expert:math", "expert:base", api_name="/compare")
    assert set(duel) == {"comparison_id", "a", "b"}
    vote = client.predict(duel["comparison_id"], "a", "my-own-handle", "token-1", api_name="/vote")
    again = client.predict(duel["comparison_id"], "b", "my-own-handle", "token-1", api_name="/vote")
    assert again["label_id"] == vote["label_id"]
    assert {vote["a"]["expert"], vote["b"]["expert"]} == {"math", "base"}
    with pytest.raises(Exception, match="somebody else"):
        client.predict(vote["label_id"], "another-handle", api_name="/undo")
    assert len(client.predict(100, "my-own-handle", api_name="/labels")["labels"]) == 1
    client.predict(vote["label_id"], "my-own-handle", api_name="/undo")
    assert client.predict(100, "my-own-handle", api_name="/labels")["labels"] == []


def test_a_retried_vote_says_what_is_stored_and_counts_once(client: Any) -> None:
    """The three tries of a client that got no answer in time."""

    def stored(comparison: str) -> list[str]:
        rows = client.predict(500, api_name="/labels")["labels"]
        return [row["choice"] for row in rows if row["comparison_id"] == comparison]

    one, two, three = (
        client.predict(f"Number {n}?", max_tokens=6, api_name="/compare")["comparison_id"] for n in "123"
    )
    vote = lambda *words: client.predict(*words, api_name="/vote")  # noqa: E731
    first, again = vote(one, "b", "alice12345", "t1"), vote(one, "tie", "alice12345", "t1")
    assert (again["verdict"], again["label_id"]) == (first["verdict"], first["label_id"])
    assert again["note"]
    assert len(stored(one)) == 1
    first, again = vote(two, "a", "", "t2"), vote(two, "a", "", "t2")
    assert again["label_id"] == first["label_id"]
    assert {again["a"]["expert"], again["b"]["expert"]} == {first["a"]["expert"], first["b"]["expert"]}
    assert len(stored(two)) == 1
    for _ in "ab":
        with pytest.raises(Exception, match="8 to 64"):
            vote(three, "a", "alice")
    assert stored(three) == []


def test_unnamed_votes_of_many_connections_are_one_labellers(client: Any) -> None:
    made = [client.predict(f"Unnamed {n}?", max_tokens=6, api_name="/compare")["comparison_id"] for n in range(3)]
    for comparison in made:
        Client(client.src, verbose=False).predict(comparison, "a", api_name="/vote")
    rows = client.predict(500, api_name="/labels")["labels"]
    assert len({row["labeller"] for row in rows if row["comparison_id"] in made}) == 1


def test_a_prompt_that_is_cut_is_said(client: Any) -> None:
    long = "What is 3 + 4? " * 2000
    assert "cut to 8,000 characters" in client.predict(long, "knn", 4, api_name="/ask")["notice"]
    assert "cut to 8,000 characters" in client.predict(long, max_tokens=4, api_name="/compare")["notice"]
    assert "cut to 8,000 characters" in list(client.submit(long, "knn", 4, api_name="/run"))[-1]["notice"]
    assert "notice" not in client.predict("Short?", "knn", 4, api_name="/ask")


def test_a_vote_that_was_acknowledged_survives_kill_nine(tmp_path: Path) -> None:
    process, address = started(tmp_path)
    client = Client(address, verbose=False)
    acknowledged = []
    for number in range(3):
        duel = client.predict(f"Question {number}?", api_name="/compare")
        acknowledged.append(client.predict(duel["comparison_id"], "1", api_name="/vote")["label_id"])
    os.kill(process.pid, signal.SIGKILL)  # at once: nothing may be left to write
    process.wait()
    began = time.monotonic()
    with Database(f"sqlite:///{tmp_path / 'playground.sqlite3'}").read() as session:
        stored = current_labels(session)
    assert sorted(row.label_id for row in stored) == sorted(acknowledged)
    assert {row.shown_verdict.key for row in stored} == {"1"}
    assert all(row.a.text for row in stored)
    assert time.monotonic() - began < 5


def test_a_polite_end_leaves_every_vote_in_the_one_file(tmp_path: Path) -> None:
    process, address = started(tmp_path)
    client = Client(address, verbose=False)
    duel = client.predict("Question?", api_name="/compare")
    label = client.predict(duel["comparison_id"], "1", api_name="/vote")["label_id"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    copy = tmp_path / "elsewhere" / "copy.sqlite3"
    copy.parent.mkdir()
    shutil.copyfile(tmp_path / "playground.sqlite3", copy)  # the one file, without its log
    with Database(f"sqlite:///{copy}").read() as session:
        assert [row.label_id for row in current_labels(session)] == [label]
