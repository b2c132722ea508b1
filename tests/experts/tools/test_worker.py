import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from playground.experts.tools.worker import TookTooLong, Worker, WorkerBroke


@pytest.fixture
def own():
    made = Worker(limit_s=0.5)
    yield made
    made.stop()


def test_nothing_is_started_before_the_first_call(own):
    assert own.pid is None
    assert own.call("math:factorial", 5) == 120
    first = own.pid
    assert own.call("math:factorial", 6) == 720
    assert own.pid == first  # reused


def test_work_that_takes_too_long_is_killed_and_the_next_call_is_answered(own):
    own.call("math:factorial", 3)
    before = own.pid
    started = time.perf_counter()
    with pytest.raises(TookTooLong):
        own.call("time:sleep", 30)
    assert time.perf_counter() - started < 5
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)  # not left running behind our back
    assert own.call("math:factorial", 4) == 24
    assert own.pid != before


def test_a_process_that_was_killed_from_outside_is_replaced(own):
    own.call("math:factorial", 3)
    os.kill(own.pid, signal.SIGKILL)
    answers = []
    for _ in range(3):  # the pipe may break on the first write or only on the read
        try:
            answers.append(own.call("math:factorial", 4))
        except WorkerBroke:
            continue
    assert 24 in answers


def test_work_that_raises_is_reported_and_leaves_the_process_alive(own):
    own.call("math:factorial", 3)
    before = own.pid
    with pytest.raises(WorkerBroke):
        own.call("math:factorial", -1)
    assert own.pid == before


def test_threads_get_their_own_answers(own):
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda n: own.call("math:factorial", n), range(40))) == [
            __import__("math").factorial(n) for n in range(40)
        ]


def test_the_process_does_not_import_the_page_or_torch(own):
    loaded = own.call("playground.experts.tools.calculator.arithmetic:solve", ["num", "1"])
    assert loaded["result"] == "1"
    names = own.call("builtins:eval", "sorted(m for m in __import__('sys').modules if '.' not in m)")
    assert not {"torch", "gradio", "transformers"} & set(names)
