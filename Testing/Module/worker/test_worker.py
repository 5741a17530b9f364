"""The worker process: told as signals, stopped at once, explained in one sentence whatever happens to it."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from ..cases import haveEnded  # makes the module importable, too

from DeepRegistrationSlicer.worker import process, worker_run  # isort: skip

FAKE = [sys.executable, str(Path(__file__).parents[1] / "fake_worker.py")]
pytestmark = pytest.mark.usefixtures("host")


class Told:
    """A run and all it said."""

    def __init__(self, child, folder, method):
        self.process, self.events = child, []
        self.worker = worker_run.WorkerRun(child)
        self.worker.progressed.connect(
            lambda stage, fraction, message: self.events.append(("progress", fraction, message))
        )
        self.worker.finished.connect(lambda report: self.events.append(("finished", report)))
        self.worker.failed.connect(lambda sentence: self.events.append(("failed", sentence)))
        self.worker.cancelled.connect(lambda: self.events.append(("cancelled",)))
        arguments = ["register", "fixed.nrrd", "moving.nrrd", "--output-transform", "t.nrrd", "--method", method]
        self.worker.start(arguments, folder)

    def until(self, condition, seconds=20):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.events
            self.worker.poll()
            time.sleep(0.01)

    def run(self):
        self.until(lambda: not self.worker.isRunning)
        return self.events[-1]

    @property
    def ends(self):
        return [event for event in self.events if event[0] != "progress"]


@pytest.fixture
def tell(tmp_path):
    jobs = []

    def start(method, command=FAKE):
        jobs.append(Told(process.LibraryProcess(command), tmp_path, method))
        return jobs[-1]

    yield start
    for told in jobs:
        told.process.kill()


@pytest.fixture
def images(tmp_path):
    import numpy as np
    import SimpleITK as sitk

    for name in ("fixed", "moving"):
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 5, 5), np.float32)), str(tmp_path / f"{name}.nrrd"))


def test_progress_comes_in_order_and_the_report_last(tell, images):
    told = tell("none")
    assert told.run()[0] == "finished"
    assert told.events[-1][1]["similarity_after"] == 0.8
    fractions = [event[1] for event in told.events if event[0] == "progress"]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_progress_is_told_while_the_worker_runs(tell, images):
    told = tell("slow")
    told.until(lambda: any(e[0] == "progress" and 0.2 < e[1] < 0.5 for e in told.events))
    assert told.worker.isRunning
    assert told.run()[0] == "finished"


def test_cancel_ends_the_worker_and_what_it_started(tell):
    told = tell("hang")
    told.until(lambda: any(e[0] == "progress" and "child" in e[2] for e in told.events))
    child = int(next(e[2] for e in told.events if "child" in e[-1]).split()[1])
    family = [psutil.Process(pid) for pid in (child, told.process.processId)]
    told.worker.cancel()
    assert told.ends == [("cancelled",)]
    assert haveEnded(family)
    told.worker.poll()
    assert told.ends == [("cancelled",)]


def test_cancel_before_the_first_word_works_too(tell):
    told = tell("hang")
    started = psutil.Process(told.process.processId)
    told.worker.cancel()
    assert told.ends == [("cancelled",)]
    assert haveEnded([started])


def test_cancel_through_the_launcher_ends_the_interpreter_behind_it(tell):
    """PythonSlicer is a launcher: the interpreter is its child."""
    launcher = process.pythonExecutable()
    assert launcher.endswith("PythonSlicer")
    told = tell("hang", [launcher, FAKE[1]])
    told.until(lambda: any(e[0] == "progress" and "child" in e[2] for e in told.events))
    family = psutil.Process(told.process.processId).children(recursive=True)
    assert len(family) >= 2
    told.worker.cancel()
    assert haveEnded(family)


@pytest.mark.parametrize(
    ("method", "sentence"),
    [
        ("bad-input", "The fixed image has 3 voxels without a number; replace them."),
        ("garbage", "ended without a result"),
        ("traceback", "stopped unexpectedly"),
        ("memory", "not enough memory"),
        ("no-torch", "PyTorch is not installed"),
        ("suicide", "ended from outside, most likely because the computer ran out of memory"),
    ],
)
def test_each_bad_end_is_one_sentence(tell, method, sentence):
    told = tell(method)
    told.run()
    assert len(told.ends) == 1
    kind, text = told.ends[0]
    assert kind == "failed"
    assert sentence in text
    assert "Traceback" not in text
    assert text.endswith(".")


def test_a_worker_killed_from_outside_is_noticed(tell):
    told = tell("hang")
    told.until(lambda: any(e[0] == "progress" for e in told.events))
    os.kill(told.process.processId, signal.SIGKILL)
    kind, text = told.run()
    assert kind == "failed"
    assert "ended from outside" in text


def test_a_python_that_is_not_there_is_one_sentence(tell):
    told = tell("none", ["/nowhere/python"])
    assert told.ends[0][0] == "failed"
    assert "could not be started" in told.ends[0][1]


@pytest.mark.parametrize(
    "line",
    ["", "{", "[]", "null", "3", '{"stage": "x"}', '{"stage": "x", "fraction": null}', '{"fraction": 0.5}'],
)
def test_what_is_no_progress_is_ignored(line):
    assert worker_run.parse(line) is None


def test_fractions_stay_between_nothing_and_all():
    assert worker_run.parse('{"stage": "x", "fraction": 7}')["fraction"] == 1
    assert worker_run.parse('{"stage": "x", "fraction": -1}')["fraction"] == 0
    assert worker_run.parse('{"stage": "x", "fraction": NaN}')["fraction"] == 0


def test_the_library_is_found_beside_the_module():
    assert (process.libraryFolder() / "DeepRegistrationLib" / "__init__.py").is_file()


def test_the_last_line_of_a_traceback_is_no_sentence_for_the_user():
    errors = "Traceback (most recent call last):\n  File x\nRuntimeError: Exception thrown\nsitk::ERROR: No."
    assert "stopped unexpectedly" in worker_run.explain(1, errors)
    assert worker_run.explain(2, "a warning\nThe fixed image is empty.") == "The fixed image is empty."


@pytest.mark.parametrize(
    "last",
    [
        "MemoryError",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 9.00 GiB for an array",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 9.00 GiB.",
        "RuntimeError: [enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory",
        "OpenBLAS error: Memory allocation still failed after 10 retries, giving up.",
        "OSError: [Errno 12] Cannot allocate memory",
        "itk::MemoryAllocationError: Failed to allocate memory for image.",
        "terminate called after throwing an instance of 'std::bad_alloc'",
    ],
)
def test_too_little_memory_is_recognized_whoever_says_it(last):
    assert "not enough memory" in worker_run.explain(1, f"Traceback (most recent call last):\n{last}\n")
