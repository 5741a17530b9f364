"""PyTorch is asked for when it is needed, once, and whatever happens is one sentence."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from .. import cases

from DeepRegistrationSlicer.worker import install  # isort: skip
from DeepRegistrationSlicer.errors import RegistrationError  # isort: skip

pytestmark = pytest.mark.usefixtures("host")


@pytest.fixture
def withoutTorch(monkeypatch):
    """A Slicer without PyTorch; ``state.there`` becomes true when it is installed."""
    state = types.SimpleNamespace(there=False)
    monkeypatch.setattr(install, "isTorchInstalled", lambda: state.there)
    monkeypatch.delitem(sys.modules, "PyTorchUtils", raising=False)
    return state


def offer(monkeypatch, installTorch):
    asked = []

    class PyTorchUtilsLogic:
        def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
            asked.append((askConfirmation, torchVersionRequirement))
            return installTorch()

    module = types.ModuleType("PyTorchUtils")
    module.PyTorchUtilsLogic = PyTorchUtilsLogic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", module)
    return asked


def test_nothing_is_asked_where_pytorch_is(monkeypatch, withoutTorch):
    withoutTorch.there = True
    asked = offer(monkeypatch, lambda: None)
    install.TorchInstaller().ensure()
    assert asked == []


def test_without_the_pytorch_extension_the_way_on_is_said(withoutTorch):
    with pytest.raises(RegistrationError, match="install the extension named PyTorch in the Extensions Manager"):
        install.TorchInstaller().ensure()


def test_the_user_is_asked_once_and_it_goes_on(monkeypatch, withoutTorch):
    def accept():
        withoutTorch.there = True
        return types.ModuleType("torch")

    asked = offer(monkeypatch, accept)
    install.TorchInstaller().ensure()
    install.TorchInstaller().ensure()
    assert asked == [(True, ">=2.2")]


def test_a_refusal_is_one_sentence(monkeypatch, withoutTorch):
    offer(monkeypatch, lambda: None)
    with pytest.raises(RegistrationError, match="Without PyTorch nothing can be registered"):
        install.TorchInstaller().ensure()


def test_a_failed_download_is_one_sentence(monkeypatch, withoutTorch):
    def fail():
        raise subprocess.CalledProcessError(1, "pip")

    offer(monkeypatch, fail)
    with pytest.raises(RegistrationError, match="could not be installed; check the internet connection"):
        install.TorchInstaller().ensure()


def test_looking_for_pytorch_does_not_import_it():
    code = (
        f"import sys; sys.path.insert(0, {str(cases.MODULE)!r}); from DeepRegistrationSlicer.worker import install; "
        "print(install.isTorchInstalled(), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    assert done.stdout.split() == ["True", "False"]
