"""PyTorch, through the PyTorch extension, when it is first needed: never on import, never when the panel opens.

PyTorch itself is not imported here: only the worker does that.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import Any, Protocol

from ..errors import RegistrationError
from ..texts import tr as _

LOGGER = logging.getLogger(__name__)
TORCH_REQUIREMENT = ">=2.2"


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
        try:
            installed = utilities.PyTorchUtilsLogic().installTorch(True, None, TORCH_REQUIREMENT)
        except Exception as error:
            LOGGER.exception("Installing PyTorch")
            raise RegistrationError(
                _(
                    "PyTorch could not be installed; check the internet connection and the free disk space, or install "
                    "it with the module PyTorch Utils, then press Apply again."
                )
            ) from error
        importlib.invalidate_caches()
        if installed is None or not isTorchInstalled():
            raise RegistrationError(
                _("Without PyTorch nothing can be registered; press Apply again to install it, nothing was changed.")
            )


def isTorchInstalled() -> bool:
    """Whether PyTorch can be imported; it is not imported for that."""
    try:
        return importlib.util.find_spec("torch") is not None
    except (ImportError, ValueError):
        return False


def _pyTorchUtils() -> Any:
    try:
        import PyTorchUtils
    except ImportError:
        return None
    return PyTorchUtils
