"""PyTorch, through the PyTorch extension, when it is first needed: never on import, never when the panel opens.

PyTorch itself is not imported here: only the worker does that.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import RegistrationError
from ..texts import tr as _

LOGGER = logging.getLogger(__name__)
TORCH_REQUIREMENT = ">=2.2"
FIRST_WITH_NUMPY_2 = (2, 3)
"""The first PyTorch that understands arrays of numpy 2."""


class Installer(Protocol):
    """Makes sure that the worker finds what it needs."""

    def ensure(self) -> None:
        """Returns if PyTorch is there, asks once and installs it if it is not.

        Raises:
            RegistrationError: what the user can do.
        """


class TorchInstaller:
    """Asks the PyTorch extension's ``PyTorchUtils`` to install PyTorch."""

    def ensure(self) -> None:
        problem = platformProblem()
        if problem:
            raise RegistrationError(problem)
        if isTorchInstalled():
            return
        utilities = _pyTorchUtils()
        if utilities is None:
            raise RegistrationError(
                _(
                    "PyTorch is needed: install the extension named PyTorch in the Extensions Manager, restart Slicer "
                    "and press Apply again."
                )
            )
        installed: Any = None
        try:
            with _notImported():
                installed = utilities.PyTorchUtilsLogic().installTorch(True, None, TORCH_REQUIREMENT)
        except ImportError:  # it ends by importing what it installed, which is not wanted here
            LOGGER.info("PyTorch is not imported into Slicer", exc_info=True)
            installed = True
        except Exception as error:
            LOGGER.exception("Installing PyTorch")
            raise RegistrationError(
                _(
                    "PyTorch could not be installed; check the internet connection and the free disk space, or install "
                    "it with the module PyTorch Utils, then press Apply again."
                )
            ) from error
        importlib.invalidate_caches()
        if isTorchInstalled():
            return
        if installed is True:
            raise RegistrationError(
                _("PyTorch was not installed as it should be; install it with the module PyTorch Utils and try again.")
            )
        raise RegistrationError(
            _("Without PyTorch nothing can be registered; press Apply again to install it, nothing was changed.")
        )


def isTorchInstalled() -> bool:
    """Whether PyTorch can be imported; it is not imported for that. A folder that was left over does not count."""
    try:
        spec = importlib.util.find_spec("torch")
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None and _torchVersion() is not None


def torchState() -> tuple[Any, ...]:
    """Something that is another one after PyTorch was installed anew."""
    try:
        spec = importlib.util.find_spec("torch")
        origin = spec.origin if spec is not None else None
        return origin, Path(origin).stat().st_mtime_ns if origin else None, _installedVersion()
    except (ImportError, ValueError, OSError):
        return ()


def platformProblem() -> str:
    """Why no PyTorch for this computer works with Slicer's numpy; empty if there is one.

    For Intel processors of Macs 2.2 is the last PyTorch, and it cannot read arrays of numpy 2.
    """
    if int(np.__version__.partition(".")[0]) < 2:
        return ""
    found = _torchVersion()
    if found is not None:
        isTooOld = found < FIRST_WITH_NUMPY_2
    else:
        isTooOld = platform.system() == "Darwin" and platform.machine() == "x86_64"
    if not isTooOld:
        return ""
    if platform.system() == "Darwin" and platform.machine() == "x86_64":
        return _(
            "The last PyTorch for Macs with Intel processors does not work with the numpy {version} of this Slicer; "
            "use a Slicer for Apple processors, Windows or Linux."
        ).format(version=np.__version__)
    return _(
        "The installed PyTorch is too old for the numpy {version} of this Slicer; install PyTorch 2.3 or later "
        "with the module PyTorch Utils."
    ).format(version=np.__version__)


def _torchVersion() -> tuple[int, int] | None:
    """(major, minor) of the PyTorch that pip installed, None if there is none."""
    try:
        major, minor = _installedVersion().split(".")[:2]
        return int(major), int(minor)
    except (importlib.metadata.PackageNotFoundError, ValueError, TypeError, AttributeError):
        return None


def _installedVersion() -> str:
    """As ``importlib.metadata.version``, which reads all of PyTorch's description: 7 ms, at each change in the panel.

    Raises:
        PackageNotFoundError: if pip has installed none.
    """
    text = importlib.metadata.distribution("torch").read_text("METADATA") or ""
    said = (line for line in text.splitlines() if line.lower().startswith("version:"))
    return next(said, "version:").partition(":")[2].strip()


@contextmanager
def _notImported() -> Iterator[None]:
    """``import torch`` fails inside: Slicer's process stays free of it, and of what its libraries change."""
    isHere = "torch" in sys.modules
    if not isHere:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not isHere and sys.modules.get("torch", True) is None:
            del sys.modules["torch"]


def _pyTorchUtils() -> Any:
    try:
        import PyTorchUtils
    except ImportError:
        return None
    return PyTorchUtils
