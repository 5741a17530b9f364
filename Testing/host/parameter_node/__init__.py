"""A stand-in for ``slicer.parameterNodeWrapper``: typed access to the values of a vtkMRMLScriptedModuleNode.

Covered: int, float, str, bool, enumerations, paths, MRML nodes, lists of these, Optional and Union; the annotations
Default, WithinRange, Minimum, Maximum, Choice, Exclude, NotNone, Decimals and SingleStep; the binding to widgets.
Values are stored in the node as Slicer stores them. Not covered: parameterPack, tuple, dict, ranges, colors,
``createGui``. As in Slicer, ``X | None`` is refused (write ``Optional[X]``) and ``connectGui`` returns nothing that
``disconnectGui`` could use (``connectParametersToGui`` does).
"""

from __future__ import annotations

import sys
import types

import slicer

from . import annotations, connectors, wrapper


def install() -> None:
    """Register the module ``slicer.parameterNodeWrapper``."""
    module = types.ModuleType("slicer.parameterNodeWrapper", __doc__)
    for source in (annotations, connectors, wrapper):
        for name in source.__all__:
            setattr(module, name, getattr(source, name))
    sys.modules[module.__name__] = module
    slicer.parameterNodeWrapper = module
