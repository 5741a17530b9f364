"""The worker that stays: one process for one request after the other, and it ends whenever it should."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from ..cases import FAKE, OBLIQUE, OTHER, addVolume, blobs, haveEnded, sceneContent

import slicer  # isort: skip
from DeepRegistrationSlicer.errors import CancelledError, RegistrationError  # isort: skip
from DeepRegistrationSlicer.registration.logic import RegistrationLogic  # isort: skip
from DeepRegistrationSlicer.registration.series import Series  # isort: skip
from DeepRegistrationSlicer.registration.request import Request  # isort: skip
from DeepRegistrationSlicer.worker import staying  # isort: skip

pytestmark = pytest.mark.usefixtures("host")


class NoInstaller:
    def ensure(self):
        """PyTorch is there."""


@pytest.fixture
def worker():
    made = staying.StayingWorker(FAKE)
    yield made
    made.end()


def logicFor(worker):
    return RegistrationLogic(lambda: staying.StayingProcess(worker, lambda: alone()), installer=NoInstaller())


def alone():
    return staying.LibraryProcess(FAKE)


@pytest.fixture
def logic(worker):
    made = logicFor(worker)
    yield made
    made.cancel()


@pytest.fixture
def pair():
    return addVolume(blobs(), OBLIQUE, "fixed"), addVolume(blobs(shift=(2, 0, 0)), OTHER, "moving")


def folders():
    return list(Path(slicer.app.temporaryPath).glob("DeepRegistration-*"))


def startHanging(logic, pair):
    """Start what never ends; the processes it consists of."""
    said = []
    logic.progressed.connect(lambda _stage, _fraction, message: said.append(message))
    logic.register(*pair, method="hang", waitForCompletion=False)
    until(lambda: logic.poll() or any("child" in message for message in said))
    return int(next(message for message in said if "child" in message).split()[1])


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_next_registration_is_served_by_the_same_process(logic, worker, pair):
    first = logic.register(*pair)
    served = worker.processId
    assert served is not None
    second = logic.register(*pair)
    assert worker.processId == served
    assert first is not second
    assert folders() == []


def test_another_logic_and_a_series_are_served_by_it_too(logic, worker, pair):
    logic.register(*pair)
    served = worker.processId
    series = Series(logicFor(worker))
    tables = []
    series.finished.connect(tables.append)
    moving = [pair[1], addVolume(blobs(shift=(1, 0, 0)), OTHER, "moving 2")]
    series.start(Request(pair[0], pair[1]), moving)
    series.wait()
    assert tables
    assert worker.processId == served
    assert folders() == []


def test_what_it_writes_of_one_request_is_not_taken_for_the_next(logic, pair):
    logic.register(*pair)
    said = []
    logic.progressed.connect(lambda _stage, fraction, _message: said.append(fraction))
    logic.register(*pair)
    assert said[0] == pytest.approx(0.1)
    assert said == sorted(said)


def test_cancel_ends_it_and_what_it_started_and_changes_nothing(logic, worker, pair):
    logic.register(*pair)
    before, served = sceneContent(), psutil.Process(worker.processId)
    family = [served, psutil.Process(startHanging(logic, pair))]
    logic.cancel()
    assert worker.processId is None
    assert haveEnded(family)
    assert sceneContent() == before
    assert folders() == []
    with pytest.raises(CancelledError):
        logic.wait()
    assert logic.register(*pair) is not None
    assert worker.processId != served.pid


def test_it_ends_when_it_was_idle_and_the_next_request_gets_another(pair):
    worker = staying.StayingWorker(FAKE, idleSeconds=0.2)
    logic = logicFor(worker)
    logic.register(*pair)
    until(lambda: worker.processId is None)
    assert worker.exitCode() == 0
    assert logic.register(*pair) is not None
    worker.end()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_was_killed_while_idle_is_replaced_unseen(logic, worker, pair, number):
    logic.register(*pair)
    served = psutil.Process(worker.processId)
    served.send_signal(number)
    until(lambda: worker.processId is None)
    assert logic.register(*pair) is not None
    assert worker.processId not in (None, served.pid)


def test_a_worker_that_dies_before_it_begins_is_replaced_by_a_process_of_its_own(tmp_path):
    deaf = staying.StayingWorker([sys.executable, "-c", "import sys; sys.stdin.readline()"])
    process = staying.StayingProcess(deaf, alone)
    process.start(["register", "--method", "bad-input"], tmp_path)
    until(lambda: process.exitCode() is not None)
    assert process.exitCode() == 2
    assert "without a number" in process.errorText()


def test_a_worker_killed_at_work_is_a_failure_as_ever(logic, worker, pair):
    child = psutil.Process(startHanging(logic, pair))
    os.kill(worker.processId, signal.SIGKILL)
    with pytest.raises(RegistrationError, match="ended from outside"):
        logic.wait()
    assert haveEnded([child])
    assert folders() == []


def test_a_second_registration_at_the_same_time_gets_a_process_of_its_own(logic, worker, pair):
    startHanging(logic, pair)
    served = worker.processId
    other = logicFor(worker)
    assert other.register(*pair) is not None
    assert worker.processId == served
    assert logic.isRunning


def test_bad_input_keeps_it_and_an_unexpected_end_does_not(logic, worker, pair):
    with pytest.raises(RegistrationError, match="without a number"):
        logic.register(*pair, method="bad-input")
    served = worker.processId
    assert served is not None
    with pytest.raises(RegistrationError, match="stopped unexpectedly"):
        logic.register(*pair, method="traceback")
    assert worker.processId is None
    assert haveEnded([psutil.Process(served)] if psutil.pid_exists(served) else [])


@pytest.mark.parametrize("what", ["device", "torch", "environment"])
def test_what_a_process_keeps_from_its_start_asks_for_another(logic, worker, pair, what, monkeypatch):
    logic.register(*pair)
    served = worker.processId
    if what == "torch":
        monkeypatch.setattr(staying, "torchState", lambda: "another")
    if what == "environment":
        monkeypatch.setenv("DEEPREGISTRATION_MODELS", "/elsewhere")
    logic.register(*pair, device="cpu" if what == "device" else "auto")
    assert worker.processId not in (None, served)
    assert not psutil.pid_exists(served)


def test_it_ends_when_it_has_grown(pair):
    code = """
import sys
from DeepRegistrationLib.command_line import serve
held = iter([1 << 30, (2 << 30) - 1, 2 << 30])
serve.resident_memory, serve.total_memory = lambda: next(held), lambda: 1 << 40
print = None
def command(arguments, stop):
    sys.stdout.write("{}\\n")
    return 0
serve.serve(command)
"""
    worker = staying.StayingWorker([sys.executable, "-c", code])
    folder = Path(slicer.app.temporaryPath)
    stayed = []
    for _request in range(3):
        (folder / staying.ENDED_FILE).unlink(missing_ok=True)
        process = staying.StayingProcess(worker, alone)
        process.start([], folder)
        until(lambda p=process: p.exitCode() is not None)
        stayed.append(worker.processId is not None)
    assert stayed == [True, True, False]


@pytest.mark.parametrize("isAtWork", [False, True])
def test_it_ends_with_who_asked_and_leaves_no_images(tmp_path, isAtWork):
    folder = tmp_path / "request"
    folder.mkdir()
    (folder / "fixed.nrrd").write_bytes(b"an image")
    request = {"arguments": ["register", "--method", "garbage-and-hang"], "folder": str(folder)}
    parent = f"""
import subprocess, sys, time, pathlib, os
child = subprocess.Popen({[*FAKE, "serve", "600"]!r}, stdin=subprocess.PIPE, start_new_session=True)
if {isAtWork}:
    child.stdin.write({json.dumps(request)!r}.encode())
    child.stdin.write(b"\\n")
    child.stdin.flush()
    while not (pathlib.Path({str(folder)!r}) / "arguments.json").exists():
        time.sleep(0.01)
print(child.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    root = str(Path(__file__).parents[3])
    environment = dict(os.environ, PYTHONPATH=root)
    asked = subprocess.run([sys.executable, "-c", parent], stdout=subprocess.PIPE, env=environment, check=False)
    pid = int(asked.stdout)
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    assert folder.exists() is not isAtWork


def test_opening_the_panel_warms_the_real_worker_which_serves_all_and_keeps_nothing(asking):
    catalog, logic = asking.panel.catalog, asking.logic.registration
    until(lambda: slicer.app.processEvents() or not catalog.answer.isRunning)
    assert len(catalog.methods) > 2
    served = staying.SHARED.processId
    assert served is not None
    fixed, moving = addVolume(blobs((12, 12, 12)), OBLIQUE), addVolume(blobs((12, 12, 12), (1, 1, 0)), OBLIQUE)
    found = []
    for _ in range(2):
        logic.register(fixed, moving, affine="none")
        found.append(slicer.util.arrayFromVolume(logic.lastResult.volume).copy())
        assert staying.SHARED.processId == served
    kept = psutil.Process(served)
    paths = [file.path for file in kept.open_files()] + [kept.cwd()]
    asking.cleanup()
    assert not psutil.pid_exists(served)
    assert np.array_equal(*found)
    assert not any("DeepRegistration-" in path for path in paths)
    assert folders() == []
