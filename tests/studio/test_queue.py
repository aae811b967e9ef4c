"""Jobs that are real processes, conductors that are killed, studios that come and go. Nothing of them is in memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lorafit.run import RunFolder, read_json, write_json
from lorafit.serve.place import TOKEN
from lorafit.studio import jobs
from lorafit.studio import queue as queue_module
from lorafit.studio.jobs import Job
from lorafit.studio.queue import Queue
from lorafit.studio.refusal import StudioError
from lorafit.studio.workspace import Workspace

# As `lorafit train` does: the first interrupt saves and ends with 130.
SAVES = """
import pathlib, signal, sys, time
def stop(*_):
    pathlib.Path("saved").touch()
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
print("begun", flush=True)
time.sleep(60)
"""
# Does not mind an interrupt.
DEAF = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('begun', flush=True); time.sleep(60)"
WAITS = "import pathlib, time\nprint('begun', flush=True)\nwhile not pathlib.Path('go').exists(): time.sleep(0.02)"


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def opened(root: Path) -> Queue:
    """A queue whose jobs are `python -c CODE`, as a studio that just started has it."""
    queue = Queue(Workspace(root))
    queue.command = (sys.executable, "-c")
    return queue


def begun(queue: Queue, job: Job) -> bool:
    return job.log.exists() and "begun" in job.log.read_text() and queue.job(job.id).pid is not None


def ended(queue: Queue, job: Job) -> Job:
    until(lambda: queue.job(job.id).state in jobs.ENDED)
    return queue.job(job.id)


def conductor(root: Path) -> psutil.Process:
    until(lambda: (root / ".studio" / "conductor.json").exists())
    return psutil.Process(read_json(root / ".studio" / "conductor.json")["pid"])


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    queue = opened(tmp_path)
    yield queue
    for job in queue.jobs():  # of a test that failed
        if job.state == "queued":
            queue.cancel(job.id)
        elif job.state == "running" and (process := jobs.process_of_job(job)):
            process.kill()
    until(lambda: not queue.is_conducted())


def test_a_job_is_carried_out_and_all_of_it_is_in_its_folder(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TOKEN, "secret")
    monkeypatch.setenv("HF_TOKEN", "of the hub")
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the workspace was imported')")
    code = (
        "import json, os, sys; print(json.dumps([os.getcwd(), os.environ.get(sys.argv[2]), "
        "os.environ['HF_TOKEN'], sys.stdin.read(), open(sys.argv[1]).read(), os.getsid(0) == os.getpid()]))"
    )
    job = queue.add("train", [code, "{folder}/recipe.yaml", TOKEN], "标签", run="a", files={"recipe.yaml": "模型: 1\n"})

    done = ended(queue, job)
    assert (done.state, done.code, done.message, done.label) == ("done", 0, "", "标签")
    said = [str(tmp_path), None, "of the hub", "", "模型: 1\n", True]
    assert json.loads(job.log.read_text()) == said
    assert done.arguments[1] == str(job.folder / "recipe.yaml")
    assert job.made <= (done.started or 0) <= (done.ended or 0)
    assert opened(tmp_path).job(job.id) == done
    assert queue.of_run("a") == [done] and queue.of_run("b") == []
    until(lambda: not queue.is_conducted())


def test_one_after_another_in_their_order_and_how_each_ended(queue: Queue, tmp_path: Path) -> None:
    note = "import sys; open('order', 'a').write(sys.argv[1]); "
    first = queue.add("train", [WAITS], "first")
    texts = ["print('error: no such file\\nmend it'); sys.exit(2)", "raise KeyError('x')", "", "sys.exit(130)"]
    added = [queue.add("train", [note + text, str(n)], str(n)) for n, text in enumerate(texts)]
    until(lambda: begun(queue, first))
    queue.move(added[3].id, -2)
    queue.move(added[0].id, 99)
    queue.move(first.id, 1)  # has begun: nothing happens
    wanted_order = [added[n].id for n in (3, 1, 2, 0)]
    assert [job.id for job in opened(tmp_path).jobs()] == [first.id, *wanted_order]
    assert [job.state for job in queue.jobs()] == ["running", *4 * ["queued"]]

    (tmp_path / "go").touch()
    ends = [ended(queue, job) for job in added]
    assert (tmp_path / "order").read_text() == "3120"
    assert [(job.state, job.code) for job in ends] == [("failed", 2), ("failed", 1), ("done", 0), ("cancelled", 130)]
    assert [job.message for job in ends] == ["no such file\nmend it", "KeyError: 'x'", "", "interrupted"]
    assert [job.id for job in queue.jobs()] == [*reversed(wanted_order), first.id]  # the newest first


def test_a_command_that_is_not_there_fails_and_the_queue_goes_on(queue: Queue, tmp_path: Path) -> None:
    queue.command = (str(tmp_path / "nothing"),)
    failed = [ended(queue, queue.add("train", ["a"], "not there")), ended(queue, queue.add("train", ["b"], "again"))]
    assert [job.state for job in failed] == ["failed", "failed"]
    assert "could not be started" in failed[0].message


def test_cancel_takes_out_what_is_queued_and_interrupts_what_runs(queue: Queue, tmp_path: Path) -> None:
    running, waiting = queue.add("train", [SAVES], "runs"), queue.add("train", ["open('never', 'w')"], "waits")
    until(lambda: begun(queue, running))
    queue.cancel(waiting.id)
    assert queue.job(waiting.id).state == "cancelled"
    with pytest.raises(StudioError, match="has not ended"):
        queue.forget(running.id)

    queue.cancel(running.id)
    done = ended(queue, running)
    assert (done.state, done.code, done.message) == ("cancelled", 130, "interrupted")
    assert (tmp_path / "saved").exists() and not (tmp_path / "never").exists()
    queue.cancel(running.id)  # has ended: nothing happens
    queue.forget(running.id)
    assert [job.id for job in queue.jobs()] == [waiting.id]
    with pytest.raises(StudioError, match="no job"):
        queue.job(running.id)


def test_a_second_request_ends_it_but_a_double_click_does_not(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    job = queue.add("train", [DEAF], "deaf")
    until(lambda: begun(queue, job))
    queue.cancel(job.id)
    queue.cancel(job.id)
    time.sleep(0.3)
    assert queue.job(job.id).state == "running" and queue.job(job.id).asked
    monkeypatch.setattr(queue_module, "PATIENCE_SECONDS", 0.0)
    queue.cancel(job.id)
    assert (ended(queue, job).state, queue.job(job.id).code) == ("cancelled", -signal.SIGTERM)


def test_a_killed_conductor_leaves_the_job_and_the_next_one_waits_for_it(queue: Queue, tmp_path: Path) -> None:
    code = "import json, os; print('\\nerror: the disk is full')"  # its last word, as nobody will see its exit code
    job = queue.add("train", [f"{WAITS}\n{code}"], "goes on")
    until(lambda: begun(queue, job))
    # Added now and not before: it would have started another conductor, that takes the place of the killed one.
    after = queue.add("train", ["import os, sys; sys.exit(0 if os.path.exists('go') else 9)"], "after it")
    pid = queue.job(job.id).pid
    conductor(tmp_path).kill()
    until(lambda: not queue.is_conducted())
    assert queue.job(job.id).state == "running" and psutil.pid_exists(pid or 0)

    second = opened(tmp_path)  # the studio is started again
    second.carry_on()
    until(second.is_conducted)
    time.sleep(0.5)
    assert [found.state for found in second.jobs()] == ["running", "queued"]
    assert second.job(job.id).pid == pid
    (tmp_path / "go").touch()
    assert (ended(second, after).state, second.job(after.id).code) == ("done", 0)
    assert (second.job(job.id).state, second.job(job.id).message) == ("failed", "the disk is full")


def test_what_is_gone_is_shown_as_gone_without_a_conductor(queue: Queue, tmp_path: Path) -> None:
    job = queue.add("train", [WAITS.replace("print('begun', flush=True)", "")], "killed")
    until(lambda: queue.job(job.id).pid)
    process = psutil.Process(queue.job(job.id).pid)
    conductor(tmp_path).kill()
    process.kill()
    until(lambda: not queue.is_conducted())
    assert read_json(job.folder / "state.json")["state"] == "running"
    shown = ended(queue, job)
    assert (shown.state, shown.message) == ("failed", jobs.LOST)

    queue.carry_on()  # too soon after the last one: a studio that has just started does not wait
    opened(tmp_path).carry_on()
    until(lambda: read_json(job.folder / "state.json")["state"] == "failed")


@pytest.mark.parametrize(
    ("status", "state"),
    [("finished", "done"), ("interrupted", "cancelled"), ("failed", "failed"), ("running", "failed")],
)
def test_the_run_tells_how_a_job_ended_that_nobody_saw(tmp_path: Path, status: str, state: str) -> None:
    queue = opened(tmp_path)
    folder = tmp_path / ".studio" / "jobs" / "20260101-000000-000000-abcd"
    folder.mkdir()
    jobs.write_job(folder, "train", ["x"], "x", "tuned")
    pid = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout
    jobs.change(jobs.read_job(folder), state="running", started=1.0, pid=int(pid), process_started=1.0)
    run = RunFolder.create(tmp_path / "runs" / "tuned")
    write_json(run.status, {"state": status, "pid": int(pid), "message": "of the run"})
    job = queue.job(folder.name)
    assert job.state == state
    assert job.message == {"done": "", "cancelled": "interrupted"}.get(
        state, "of the run" if status == "failed" else jobs.LOST
    )
    write_json(run.status, {"state": status, "pid": int(pid) + 1})  # of another process: says nothing
    assert queue.job(folder.name).message == jobs.LOST


def test_a_number_that_is_another_process_by_now_is_not_the_job(tmp_path: Path) -> None:
    own = psutil.Process()
    assert jobs.process_of(own.pid, own.create_time()) == own
    assert jobs.process_of(own.pid, own.create_time() - 60) is None
    marked = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"], env={**os.environ, jobs.MARK: "a"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert marked.stdout
    marked.stdout.readline()
    assert jobs.process_of(marked.pid, 1.0, "b") is None
    assert jobs.process_of(marked.pid, 1.0, "a") is not None  # the clock was set
    marked.communicate(b"\n")


def test_a_conductor_killed_before_it_wrote_the_number_does_not_start_the_job_twice(
    queue: Queue, tmp_path: Path
) -> None:
    job = queue.add("train", [f"open('starts', 'a').write('x')\n{WAITS}"], "once")
    until(lambda: begun(queue, job))
    conductor(tmp_path).kill()
    until(lambda: not queue.is_conducted())
    pid = queue.job(job.id).pid
    jobs.change(queue.job(job.id), pid=None, process_started=None)
    found = jobs.process_of_job(queue.job(job.id))
    assert found is not None and found.pid == pid
    opened(tmp_path).carry_on()
    until(queue.is_conducted)
    (tmp_path / "go").touch()
    assert ended(queue, job).message == jobs.UNSEEN  # it said something, and no error
    assert (tmp_path / "starts").read_text() == "x"


def test_the_studio_is_killed_with_all_of_its_group_and_the_queue_goes_on(queue: Queue, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from lorafit.studio.queue import Queue; "
        "from lorafit.studio.workspace import Workspace; queue = Queue(Workspace(Path(sys.argv[1]))); "
        "queue.command = (sys.executable, '-c'); "
        "[queue.add('train', [code], 'x') for code in (sys.argv[2], '')]; "
        "os.killpg(0, signal.SIGKILL)"
    )
    words = [sys.executable, "-c", program, str(tmp_path), WAITS]
    studio = subprocess.run(words, start_new_session=True, timeout=20)
    assert studio.returncode == -signal.SIGKILL
    (tmp_path / "go").touch()
    first, second = sorted(queue.jobs(), key=lambda job: job.id)
    assert ended(queue, first).state == ended(queue, second).state == "done"


def test_two_conductors_at_once_carry_out_each_job_once(queue: Queue, tmp_path: Path) -> None:
    words = [sys.executable, "-m", queue_module.CONDUCTOR, str(tmp_path), *queue.command]
    first = queue.add("train", [WAITS], "holds")
    others = [subprocess.Popen(words) for _ in range(2)]
    added = [queue.add("train", ["open('starts', 'a').write('x')"], str(n)) for n in range(3)]
    assert [process.wait(20) for process in others] == [0, 0]  # not needed: the first one is at work
    (tmp_path / "go").touch()
    for job in [first, *added]:
        assert ended(queue, job).state == "done"
    assert (tmp_path / "starts").read_text() == "xxx"


def test_two_studios_add_and_move_at_once_and_nothing_is_lost(queue: Queue, tmp_path: Path) -> None:
    first = queue.add("train", [WAITS], "holds")
    until(lambda: begun(queue, first))

    def use(studio: Queue) -> None:
        for n in range(5):
            studio.move(studio.add("train", ["open('starts', 'a').write('x')"], str(n)).id, -1)

    threads = [threading.Thread(target=use, args=[opened(tmp_path)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    listed = queue.jobs()
    assert len({job.id for job in listed}) == 11
    (tmp_path / "go").touch()
    assert all(ended(queue, job).state == "done" for job in listed)
    assert (tmp_path / "starts").read_text() == 10 * "x"


def test_a_job_added_just_as_the_conductor_ends_is_carried_out(queue: Queue) -> None:
    for n in range(4):
        assert ended(queue, queue.add("train", [""], str(n))).state == "done"


@pytest.mark.parametrize("id", ["..", "../x", "nothing", "", "a/b", "20260101-000000-000000-abcd"])
def test_ids_are_no_paths(queue: Queue, id: str) -> None:
    with pytest.raises(StudioError, match="no job"):
        queue.cancel(id)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (jobs.JOB, b"\xff"),
        (jobs.JOB, b"[" * 100_000),
        (jobs.JOB, b'{"kind": "train", "arguments": 5, "label": "x", "run": null, "made": 1}'),
        (jobs.STATE, b'{"state": "failed", "ended": "yesterday"}'),
        (jobs.STATE, b'{"state": "running", "pid": "none"}'),
    ],
)
def test_a_job_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path, file: str, content: bytes) -> None:
    queue = opened(tmp_path)
    folders = [tmp_path / ".studio" / "jobs" / id for id in ("aa", "bb")]
    for folder in folders:
        folder.mkdir()
        jobs.write_job(folder, "train", ["train"], "a run", None)
    (folders[0] / file).write_bytes(content)
    for broken in ("order.json", "conductor.json"):
        (tmp_path / ".studio" / broken).write_bytes(b'{"queued": 5, "pid": "x", "process_started": "y"}')
    assert [job.id for job in queue.jobs()] == ["bb"] and not queue.is_conducted()


@pytest.mark.parametrize("name", ["../x", "job.json", "a/b", "", ".hidden"])
def test_files_have_plain_names(queue: Queue, name: str) -> None:
    with pytest.raises(StudioError, match="name of a job's file"):
        queue.add("train", [], "x", files={name: ""})
    assert queue.jobs() == []


def test_a_run_that_a_terminal_started_is_stopped_and_nothing_else_is(
    queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder.create(tmp_path / "runs" / "tuned")
    run.recipe.write_text("{}")
    with pytest.raises(StudioError, match="no run"):
        queue.stop_run("other")
    program = tmp_path / "lorafit"
    program.write_text(
        SAVES.replace("sys.exit", "while not pathlib.Path('go').exists(): time.sleep(0.02)\n    sys.exit")
    )
    process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, cwd=tmp_path)
    assert process.stdout
    process.stdout.readline()
    status = {"state": "running", "pid": process.pid, "heartbeat": time.time() + 60}

    write_json(run.status, {**status, "state": "finished"})
    with pytest.raises(StudioError, match="Nothing works"):
        queue.stop_run("tuned")
    write_json(run.status, {**status, "heartbeat": time.time() - 600})  # the process is younger
    with pytest.raises(StudioError, match="Nothing works"):
        queue.stop_run("tuned")
    write_json(run.status, {**status, "pid": _other(tmp_path)})
    with pytest.raises(StudioError, match="no command of lorafit"):
        queue.stop_run("tuned")
    with monkeypatch.context() as patched, pytest.raises(StudioError, match="Nothing works"):
        patched.setattr(psutil.Process, "cmdline", lambda self: ["lorafit", "studio"])
        write_json(run.status, {**status, "pid": os.getpid()})  # what stops runs is none
        queue.stop_run("tuned")
    assert process.poll() is None

    write_json(run.status, status)
    queue.stop_run("tuned")
    until((tmp_path / "saved").exists)
    queue.stop_run("tuned")  # a moment later: it is left to save
    assert process.poll() is None
    (tmp_path / "go").touch()
    assert process.wait(10) == 130
    with pytest.raises(StudioError, match="Nothing works"):
        queue.stop_run("tuned")


def _other(folder: Path) -> int:
    """The number of this test's own process, unless it runs in a folder that has the name in it."""
    return os.getpid() if not any("lorafit" in Path(word).name for word in psutil.Process().cmdline()) else 1


def test_stopping_a_run_of_the_queue_cancels_its_job(queue: Queue, tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "runs" / "tuned").recipe.write_text("{}")
    job = queue.add("train", [SAVES], "runs", run="tuned")
    until(lambda: begun(queue, job))
    queue.stop_run("tuned")
    assert ended(queue, job).state == "cancelled" and queue.job(job.id).asked
