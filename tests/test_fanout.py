"""Promises of the fan-out: order, reports, reuse, and that no dying process takes others with it or stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.errors import OptionError
from src.fanout import Outcome, Task, run_all

ROOT = Path(__file__).resolve().parent.parent
needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as on POSIX")


def tasks_of(*payloads: Any) -> list[Task]:
    return [Task(f"task {number}", payload) for number, payload in enumerate(payloads)]


def square(payload: float, report: Callable[[Any], None]) -> float:
    report(("began", payload))
    if payload < 0:
        raise ValueError(f"cannot take\n{payload}")
    report(("ended", payload))
    return payload**2


def sleep_and_tell_pid(payload: float, report: Callable[[Any], None]) -> tuple[int, float]:
    time.sleep(payload)
    return os.getpid(), time.monotonic()


def misbehave(payload: str, report: Callable[[Any], None]) -> Any:
    from src.errors import UserError

    if payload == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if payload == "terminate":
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
    if payload == "exit":
        os._exit(7)
    if payload == "sys.exit":
        sys.exit(3)
    if payload == "user error":
        raise UserError("window must be at least 1, but got 0")
    if payload == "unpicklable result":
        return lambda: None
    if payload == "flood and exit":
        for _ in range(200):
            report(b"x" * 100_000)
        os._exit(0)
    return os.getpid()


def read_environment(payload: str, report: Callable[[Any], None]) -> str | None:
    return AT_IMPORT.get(payload)


AT_IMPORT = dict(os.environ)


def report_from_threads(payload: int, report: Callable[[Any], None]) -> None:
    threads = [threading.Thread(target=report, args=((number, b"y" * 50_000),)) for number in range(payload)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class UnreadableHere(Exception):
    def __reduce__(self) -> Any:
        return (int, ("no number",))


def send_unreadable(payload: bool, report: Callable[[Any], None]) -> int:
    if payload:
        report(UnreadableHere())
        time.sleep(30)
    return 1


def test_outcomes_come_in_the_order_of_the_tasks_whatever_the_number_of_jobs() -> None:
    tasks = tasks_of(3.0, -1.0, 2.0, 1.0)
    alone, spread = run_all(square, tasks, jobs=1), run_all(square, tasks, jobs=2)
    assert [(o.key, o.status, o.result, o.error) for o in alone] == [
        (o.key, o.status, o.result, o.error) for o in spread
    ]
    assert [o.result for o in spread] == [9.0, None, 4.0, 1.0]
    assert spread[1].error == "ValueError: cannot take -1.0"
    assert "in square" in (spread[1].traceback or "") and "in square" in (alone[1].traceback or "")
    assert run_all(square, [], jobs=2) == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_reports_reach_the_calling_thread_before_the_outcome(jobs: int) -> None:
    seen: list[Any] = []
    threads = set()

    def on_report(key: str, value: Any) -> None:
        threads.add(threading.current_thread())
        seen.append((key, value))

    run_all(
        square, tasks_of(2.0, 3.0), jobs=jobs, on_report=on_report, on_outcome=lambda o: seen.append((o.key, o.result))
    )
    assert threads == {threading.current_thread()}
    for key, number in (("task 0", 2.0), ("task 1", 3.0)):
        assert [value for k, value in seen if k == key] == [("began", number), ("ended", number), number**2]


def test_workers_are_reused_and_the_next_free_one_takes_the_next_task() -> None:
    outcomes = run_all(sleep_and_tell_pid, tasks_of(1.0, 0.0, 0.0, 0.0, 0.0), jobs=2)
    pids = [outcome.result[0] for outcome in outcomes]
    assert len(set(pids)) == 2 and os.getpid() not in pids
    assert len(set(pids[1:])) == 1, "the second worker does all short tasks while the first sleeps"
    ends = [outcome.result[1] for outcome in outcomes[1:]]
    assert ends == sorted(ends)


@needs_posix
def test_a_dead_worker_fails_its_own_task_only_and_is_replaced() -> None:
    payloads = ("fine", "kill", "fine", "exit", "kill", "fine", "fine")
    outcomes = run_all(misbehave, tasks_of(*payloads), jobs=2)
    assert [o.status for o in outcomes] == ["done" if payload == "fine" else "failed" for payload in payloads]
    assert outcomes[1].error == "the worker process ended with signal 9 (killed; out of memory?)"
    assert (outcomes[1].exit_code, outcomes[3].exit_code) == (-9, 7)
    assert outcomes[3].error == "the worker process ended with exit code 7"


@needs_posix
def test_every_way_to_fail_has_its_message() -> None:
    payloads = ("user error", "sys.exit", "unpicklable result", "terminate", "flood and exit", "fine")
    outcomes = run_all(misbehave, [*tasks_of(*payloads), Task("lambda", lambda: None)], jobs=2)
    errors = [outcome.error or "" for outcome in outcomes]
    assert errors[0] == "window must be at least 1, but got 0"
    assert errors[1] == "the task ended itself with sys.exit(3)"
    assert "pickle" in errors[2].lower() and outcomes[2].status == "failed"
    assert outcomes[3] == Outcome("task 3", "cancelled", error="the run was told to stop")
    assert errors[4] == "the worker process ended with exit code 0"
    assert outcomes[5].status == "done"
    assert "lambda" in errors[6] and outcomes[6].status == "failed"


def test_a_report_that_cannot_be_read_fails_its_task() -> None:
    outcomes = run_all(send_unreadable, tasks_of(True, False, False), jobs=2)
    assert [outcome.status for outcome in outcomes] == ["failed", "done", "done"]
    assert (outcomes[0].error or "").startswith("the worker sent what cannot be read: ValueError")


def test_reports_from_several_threads_do_not_mix() -> None:
    seen: list[Any] = []
    outcomes = run_all(report_from_threads, tasks_of(20), jobs=2, on_report=lambda key, value: seen.append(value))
    assert outcomes[0].status == "done"
    assert sorted(number for number, _ in seen) == list(range(20)) and {len(data) for _, data in seen} == {50_000}


def test_the_environment_is_in_force_before_the_worker_imports_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    monkeypatch.delenv("FANOUT_TEST", raising=False)
    wanted = {"OMP_NUM_THREADS": "1", "FANOUT_TEST": "here"}
    outcomes = run_all(read_environment, tasks_of(*wanted), jobs=2, environment=wanted)
    assert [outcome.result for outcome in outcomes] == ["1", "here"]
    assert os.environ["OMP_NUM_THREADS"] == "5" and "FANOUT_TEST" not in os.environ


def test_jobs_must_be_positive() -> None:
    with pytest.raises(OptionError, match="jobs must be at least 1, but got jobs=0"):
        run_all(square, tasks_of(1.0), jobs=0)


def test_an_exception_in_a_callback_ends_the_workers() -> None:
    def on_report(key: str, value: Any) -> None:
        raise RuntimeError("callback")

    began = time.monotonic()
    with pytest.raises(RuntimeError, match="callback"):
        run_all(square, tasks_of(1.0, 2.0, 3.0), jobs=2, on_report=on_report)
    assert time.monotonic() - began < 8


# ---- a whole program as a process of its own, interrupted or killed ----

PROGRAM = """
    import os, sys, time
    from pathlib import Path
    from src.fanout import Task, run_all

    FOLDER = Path(sys.argv[1])

    chatty = "chatty" in sys.argv

    def work(payload, report):
        name, stubborn = payload
        try:
            report((name, os.getpid()))
            while True:
                report(("chat", "x" * 300_000)) if chatty else time.sleep(60) if not stubborn else sum(range(10_000))
        except KeyboardInterrupt:
            (FOLDER / f"saved_{name}").write_text("x")
            report((name, "saved"))
            if stubborn:
                while True:
                    try:
                        time.sleep(60)
                    except KeyboardInterrupt:
                        pass
            raise

    if __name__ == "__main__":
        names = [(name, "stubborn" in sys.argv[2:]) for name in ("a", "b", "c")]
        try:
            run_all(work, [Task(name, (name, bad)) for name, bad in names], jobs=2,
                    on_report=lambda key, value: value[0] == "chat" or print(*value, flush=True))
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            sys.exit(130)
"""


def start_program(folder: Path, *arguments: str) -> tuple[subprocess.Popen[str], list[int]]:
    """The running program and the process ids of its two workers, both in the middle of a task."""
    script = folder / "program.py"
    script.write_text(textwrap.dedent(PROGRAM))
    process = subprocess.Popen(
        [sys.executable, str(script), str(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    assert process.stdout is not None
    pids = [int(process.stdout.readline().split()[1]) for _ in range(2)]
    return process, pids


def wait_until_gone(group: int, seconds: float) -> bool:
    """Whether no process of the group (workers and multiprocessing's tracker included) is left after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        listing = subprocess.run(["ps", "-eo", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
        rows = [line.split() for line in listing.splitlines()]
        if not any(row[0] == str(group) and not row[1].startswith("Z") for row in rows):
            return True
        time.sleep(0.1)
    return False


@needs_posix
@pytest.mark.parametrize("whole_group", [True, False], ids=["ctrl-c", "parent only"])
@pytest.mark.parametrize("arguments", [(), ("chatty",)], ids=["silent", "chatty"])
def test_an_interrupt_lets_the_tasks_save_and_leaves_no_process(
    tmp_path: Path, whole_group: bool, arguments: tuple[str, ...]
) -> None:
    process, _ = start_program(tmp_path, *arguments)
    time.sleep(0.1)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT) if whole_group else process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 130 and errors == ""
    assert time.monotonic() - began < 5
    if not arguments:  # an interrupt within a message costs the later reports of that worker
        assert sorted(output.split("\n")) == ["", "a saved", "b saved", "interrupted"]
    assert sorted(path.name for path in tmp_path.glob("saved_*")) == ["saved_a", "saved_b"]
    assert wait_until_gone(process.pid, 3)


@needs_posix
def test_a_second_interrupt_kills_workers_that_do_not_end(tmp_path: Path) -> None:
    process, _ = start_program(tmp_path, "stubborn")
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    assert {process.stdout.readline().strip() for _ in range(2)} == {"a saved", "b saved"}
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    assert wait_until_gone(process.pid, 3)


@needs_posix
@pytest.mark.slow
@pytest.mark.parametrize("arguments", [(), ("chatty",), ("stubborn",)], ids=["obedient", "chatty", "stubborn"])
def test_a_killed_parent_leaves_no_orphan(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    process, pids = start_program(tmp_path, *arguments)
    process.kill()
    process.wait(timeout=5)
    assert wait_until_gone(process.pid, 9), f"workers {pids} are still there"
    assert sorted(path.name for path in tmp_path.glob("saved_*")) == ["saved_a", "saved_b"]
