import ast
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegistrationLib.cohorts.claims import LOCK
from DeepRegistrationLib.command_line import protocol
from DeepRegistrationLib.command_line.interrupt import GOES_ON, leave_at_once, on_interrupt
from DeepRegistrationLib.progress import CancelToken

ROOT = Path(__file__).resolve().parents[3]
SENTENCE = "The work was cancelled; nothing was changed.\n"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")


def started(*command, folder):
    """The process, once its own code has begun: what Python does before it prints a traceback of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    return subprocess.Popen([sys.executable, *map(str, command)], cwd=folder, env=environment, **pipes)


@pytest.mark.parametrize("module", ["DeepRegistrationLib", "Training"])
def test_ctrl_c_while_torch_is_loaded_is_one_sentence(tmp_path, module):
    """A stand-in for torch that tells when it is being loaded, and then takes its time."""
    (tmp_path / "torch.py").write_text("import time\nprint('loading', flush=True)\ntime.sleep(60)\n", encoding="utf-8")
    process = started("-m", module, "methods" if module == "DeepRegistrationLib" else "train", folder=tmp_path)
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, SENTENCE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_work_that_hears_nothing_is_ended_with_nothing_half_written(tmp_path, number):
    """A wait of a minute in C, in which Python runs no handler: the thread beside it ends the process."""
    code = f"""
        import ctypes, signal
        from DeepRegistrationLib.command_line.interrupt import leave_at_once, on_interrupt
        from DeepRegistrationLib.progress import CancelToken
        from DeepRegistrationLib.files.writing import whole
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, leave_at_once)
        libc = ctypes.CDLL(None)
        with on_interrupt(CancelToken()), whole({str(tmp_path / "result")!r}) as partial:
            partial.write_text("half")
            print("begun", flush=True)
            for second in range(60):
                libc.usleep(999_999)
                libc.usleep(1)
    """
    process = started("-c", "import time\n" + textwrap.dedent(code), folder=tmp_path)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, SENTENCE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["batch", "template", "sequence"])
def test_a_command_that_keeps_what_is_finished_says_that_the_same_goes_on(tmp_path, command):
    for name in "abc":
        image = np.random.default_rng(ord(name)).random((40, 44, 42)).astype(np.float32)
        sitk.WriteImage(sitk.GetImageFromArray(image), str(tmp_path / f"{name}.nrrd"))
    (tmp_path / "l.csv").write_text("image\na.nrrd\nb.nrrd\nc.nrrd\n", encoding="utf-8")
    what = {"batch": ["l.csv", "--pairs", "all"], "template": ["l.csv"], "sequence": ["a.nrrd", "b.nrrd", "c.nrrd"]}
    how = ["--output", "out", "--method", "none", "--device", "cpu", "--refine", "accurate", "--threads", "1"]
    how = how[:-2] if command == "sequence" else how
    process = started("-m", "DeepRegistrationLib", command, *what[command], *how, folder=tmp_path)
    while process.poll() is None and not [*tmp_path.rglob(LOCK)]:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, f"{GOES_ON}\n")


def test_a_token_is_cancelled_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    token = CancelToken()
    with on_interrupt(token, patience=0.0):  # this process is not its own: it is not ended
        os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 10
        while not token.cancelled and time.monotonic() < deadline:
            time.sleep(0.01)
    assert token.cancelled
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert before[0] is not leave_at_once
    assert signal.set_wakeup_fd(-1) == -1


def test_work_that_looks_at_no_token_is_interrupted():
    token = CancelToken()
    with pytest.raises(KeyboardInterrupt), on_interrupt(token, raises=True):  # noqa: PT012 - the signal is the work
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
    assert token.cancelled


def test_in_another_thread_it_does_nothing():
    entered = []

    def work():
        with on_interrupt(CancelToken()):
            entered.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [before]


def test_what_is_agreed_with_slicer_loads_nothing():
    tree = ast.parse(Path(protocol.__file__).read_text(encoding="utf-8"))
    assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree))
