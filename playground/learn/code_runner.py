"""Run a program that a model wrote, in a process of its own with little time and memory, and say how it ended.

This guards against accidents: endless loops, full memory, stray files, a socket. It is not a jail. Code that means harm
and knows Python can get around it.

Beside the limits of the operating system, the program gets no environment, no site packages, no sockets and no new
processes. It runs in an empty folder that is removed. It leaves the network where the system allows that.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from typing import IO, Literal

from playground.learn.rows import DataRow

Outcome = Literal["passed", "failed", "too long"]

WALL_S = 10.0
CPU_S = 3
MEMORY_BYTES = 512 * 1024**2
SHOWN_BYTES = 2000
DONE = 86  # the exit status of a program that ran to its end; one that exits by itself has not passed

# a completion of a function ends before any of these, as HumanEval's authors cut it
FUNCTION_ENDS = ("\n```", "\ndef ", "\nclass ", "\nif ", "\nprint", "\n#", "\n@", "\nassert ")

# Runs first in the child. Limits are set there and not by a hook before the start: such hooks are unsafe in a process
# with threads.
GUARD = """
import os, resource, sys
def limit(name, value):
    kind = getattr(resource, name, None)
    if kind is not None:
        try:
            resource.setrlimit(kind, (value, value))
        except (OSError, ValueError):
            pass  # a system without this limit: the wall clock still holds
seconds, memory = int(sys.argv[1]), int(sys.argv[2])
try:
    import ctypes
    ctypes.CDLL(None).unshare(0x10000000 | 0x40000000)  # a user and a network namespace of its own, without any device
    del sys.modules["ctypes"]
except (ImportError, OSError, AttributeError):
    pass
limit("RLIMIT_AS", memory)
limit("RLIMIT_CPU", seconds)
limit("RLIMIT_FSIZE", 0)
limit("RLIMIT_CORE", 0)
limit("RLIMIT_NPROC", 0)
def refuse(event, arguments):
    if event.split(".")[0] in ("socket", "subprocess", "ctypes") or event in (
        "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.kill", "os.killpg",
        "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink", "os.chmod",
        "os.chown", "shutil.rmtree",
    ):
        raise PermissionError(event + " is not allowed here")
    if event == "open" and (set(str(arguments[1] or "")) & set("wxa+") or (arguments[2] or 0) & 0o3103):
        raise PermissionError("writing files is not allowed here")
done, program = int(sys.argv[3]), sys.argv[4]
del sys.argv[1:]
sys.addaudithook(refuse)
exec(compile(program, "program", "exec"), {"__name__": "__main__"})
sys.stdout.flush()
os._exit(done)
"""


@dataclass(frozen=True)
class Ran:
    """How a program ended, and the beginning of what it wrote."""

    outcome: Outcome
    output: str


def passes(row: DataRow, completion: str) -> bool:
    """Return whether a HumanEval row's function, with `completion` as its body, passes the row's tests."""
    return run_python(f"{row['prompt']}{completion}\n{row['tests']}\ncheck({row['entry_point']})\n").outcome == "passed"


def run_python(program: str, *, wall_s: float = WALL_S, cpu_s: int = CPU_S, memory: int = MEMORY_BYTES) -> Ran:
    """Run `program` in a fresh isolated interpreter. It passes when it runs to its end without an error.

    It is killed, with all that it started, after `cpu_s` seconds of work or `wall_s` seconds in all.
    """
    if "\0" in program:  # a process cannot be given one
        return Ran("failed", "the program has a null byte")
    with tempfile.TemporaryDirectory(prefix="playground-code-") as folder:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-c", GUARD, str(cpu_s), str(memory), str(DONE), program],
            cwd=folder,
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        written = bytearray()
        reader = threading.Thread(target=_drain, args=(process.stdout, written), daemon=True)
        reader.start()
        try:
            status: int | None = process.wait(wall_s)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            _end(process)
            reader.join()
    output = written.decode("utf-8", "replace")
    if status in (None, -signal.SIGXCPU, -signal.SIGKILL):
        return Ran("too long", output)
    return Ran("passed" if status == DONE else "failed", output)


def _drain(stream: IO[bytes] | None, written: bytearray) -> None:
    """Read all that the program writes, so that it never waits. Keep the first SHOWN_BYTES."""
    if stream is not None:
        while chunk := stream.read(65536):
            written += chunk[: SHOWN_BYTES - len(written)]
        stream.close()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Kill the whole process group. What the program started would outlive it otherwise."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
