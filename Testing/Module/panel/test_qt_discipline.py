"""Rules of PythonQt that no test host can enforce at run time are looked for in the module's sources."""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "DeepRegistration"
FILES = sorted(FOLDER.rglob("*.py"))

# Importable when Slicer starts; the rest only inside a function.
ALLOWED_IMPORTS = set(sys.stdlib_module_names) | {"slicer", "vtk", "vtkmodules", "qt", "ctk", "numpy", "SimpleITK"}
# Of the library, what is free of PyTorch; the package's own __init__ loads nothing.
LIGHT = {
    f"DeepRegistrationLib.{name}"
    for name in (
        *("errors", "settings", "dicom", "files", "files.axes", "files.linear_mark", "geometry.image"),
        *("geometry.volume_change", "models.header", "quality.slices", "quality.verdict", "quality.viewer"),
        *("command_line.protocol", "inputs.label_maps"),
        "progress",
    )
}
# Properties in PythonQt, methods in C++ and PySide. The reader of a list or table item is a method in both.
PROPERTIES = {
    "alignment", "checkable", "checked", "collapsed", "columnCount", "currentData", "currentIndex", "currentNodeID",
    "currentPath", "currentRow", "currentText", "decimals", "directory", "enabled", "editable", "flat", "html",
    "indent", "interval", "isActiveWindow", "maximum", "maximumHeight", "maximumWidth", "minimum", "minimumHeight",
    "minimumWidth", "modal", "noneEnabled", "nodeTypes", "objectName", "openExternalLinks", "orientation",
    "placeholderText", "plainText", "prefix", "readOnly", "rowCount", "singleShot", "singleStep", "spacing",
    "styleSheet", "suffix", "text", "textVisible", "title", "toolTip", "tracking", "value", "visible", "windowTitle",
    "wordWrap",
}  # fmt: skip
THREADS = {"threading", "_thread", "concurrent.futures", "multiprocessing.pool"}
PYSIDE_ONLY = {"Signal", "Slot", "Property", "QThread"}


def violations(source: str, name: str = "source.py", local: frozenset[str] = frozenset()) -> list[str]:
    """``file:line: what is wrong`` for each broken rule; ``local`` are the packages of the module itself."""
    found = []

    def report(node: ast.AST, what: str) -> None:
        found.append(f"{name}:{node.lineno}: {what}")

    tree = ast.parse(source, name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            _check_call(node, report)
        elif isinstance(node, ast.Attribute) and node.attr in PYSIDE_ONLY and _root(node) == "qt":
            report(node, f"qt.{node.attr} does not work in Slicer")
        elif isinstance(node, ast.Compare | ast.BinOp | ast.Attribute):
            _check_enum(node, report)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for imported in _imported(node):
                if imported in THREADS or imported.split(".")[0] == "threading":
                    report(node, f"{imported}: Python threads starve in Slicer")
                if imported.split(".")[0].startswith(("PySide", "PyQt", "shiboken")):
                    report(node, f"{imported} is not Slicer's Qt")
    for node in _at_import_time(tree):
        for imported in _imported(node):
            if imported not in LIGHT and imported.split(".")[0] not in ALLOWED_IMPORTS | local:
                report(node, f"{imported} must be imported inside the function that needs it")
    return found


def _check_call(node: ast.Call, report: Callable[[ast.AST, str], None]) -> None:
    called = node.func
    root = _root(called)
    if root in ("qt", "ctk") and node.keywords:
        report(node, f"keyword argument {node.keywords[0].arg} to {ast.unparse(called)}")
    if isinstance(called, ast.Name) and called.id in ("isinstance", "issubclass") and len(node.args) == 2:
        classes = node.args[1].elts if isinstance(node.args[1], ast.Tuple) else [node.args[1]]
        if any(_root(c) in ("qt", "ctk") or _is_widget_class(c) for c in classes):
            report(node, f"{called.id} does not work on Qt classes")
    if isinstance(called, ast.Attribute) and called.attr == "exec" and root != "qt":
        report(node, "exec() is exec_() in PythonQt")
    if isinstance(called, ast.Attribute) and called.attr in ("connect", "singleShot"):
        for argument in node.args:
            if isinstance(argument, ast.Call) and ast.unparse(argument.func).rpartition(".")[2] == "partial":
                report(node, "partial as a slot gets every argument of the signal: use a method or a lambda")
    if isinstance(called, ast.Name) and called.id in ("int", "float") and any(_is_enum(a) for a in node.args):
        report(node, "an enumeration of Qt is no number in PythonQt 4: compare with ==")
    is_reader = isinstance(called, ast.Attribute) and called.attr in PROPERTIES and not node.args and not node.keywords
    if is_reader and root not in ("qt", "ctk") and not _is_item(called.value):
        report(node, f"{ast.unparse(called)}() calls a property")


def _check_enum(node: ast.AST, report: Callable[[ast.AST, str], None]) -> None:
    """Enumerations are plain numbers in one PythonQt and objects in the next: only == is right in both."""
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        if any(_is_enum(s) for s in sides) and not all(isinstance(o, ast.Eq | ast.NotEq) for o in node.ops):
            report(node, "compare enumerations of Qt with ==")
    elif isinstance(node, ast.BinOp):
        is_flags = isinstance(node.op, ast.BitOr) and _is_enum(node.left) and _is_enum(node.right)
        if not is_flags and (_is_enum(node.left) or _is_enum(node.right)):
            report(node, "an enumeration of Qt is no number in PythonQt 4: do not compute with it")
    elif isinstance(node, ast.Attribute) and node.attr in ("value", "name") and _is_enum(node.value):
        report(node, "an enumeration of Qt has no value in PythonQt 3")


def _is_enum(node: ast.AST) -> bool:
    """Whether an expression is a member of an enumeration: ``qt.Qt.ToolTipRole``, ``qt.QMessageBox.Yes``."""
    return (
        isinstance(node, ast.Attribute)
        and node.attr[:1].isupper()
        and isinstance(node.value, ast.Attribute)
        and _root(node) in ("qt", "ctk")
    )


def _root(node: ast.AST) -> str:
    """``qt`` of ``qt.QFile.exists``."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _is_widget_class(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr.startswith(("qMRML", "qSlicer")) and _root(node) == "slicer"


def _is_item(node: ast.AST) -> bool:
    """Whether an expression looks like a list, table or tree item: their text() is a method in PythonQt too."""
    if isinstance(node, ast.Call):
        node = node.func
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.lower().endswith(("item", "itemat", "action"))


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return [node.module or ""]
    return []


def _at_import_time(tree: ast.Module) -> list[ast.AST]:
    """The import statements that run when the file is imported; those under TYPE_CHECKING do not."""
    found, todo = [], list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo.extend(node.orelse)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.append(node)
        todo.extend(ast.iter_child_nodes(node))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(FOLDER)))
def test_the_module_keeps_the_discipline_of_pythonqt(path: Path) -> None:
    local = frozenset(p.stem for p in FOLDER.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists())
    broken = violations(path.read_text(encoding="utf-8"), str(path.relative_to(FOLDER.parent)), local)
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("qt.QPushButton(text='x')", "keyword argument text"),
        ("ctk.ctkSliderWidget(parent=None)", "keyword argument parent"),
        ("isinstance(w, qt.QWidget)", "isinstance"),
        ("isinstance(w, (str, slicer.qMRMLNodeComboBox))", "isinstance"),
        ("import threading", "starve"),
        ("from concurrent.futures import ThreadPoolExecutor", "starve"),
        ("class Worker(qt.QThread): pass", "does not work in Slicer"),
        ("changed = qt.Signal(int)", "does not work in Slicer"),
        ("self.ui.nameEdit.text()", "calls a property"),
        ("self.ui.slider.value()", "calls a property"),
        ("combo.currentIndex()", "calls a property"),
        ("dialog.exec()", "exec_"),
        ("button.clicked.connect(functools.partial(run, 1))", "partial"),
        ("import torch", "inside the function"),
        ("from DeepRegistrationLib import register", "inside the function"),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None", "inside the function"),
        ("import PySide6.QtCore", "not Slicer's Qt"),
        ("if answer is qt.QMessageBox.Yes: pass", "with =="),
        ("if key in (1, 2) or key < qt.Qt.Key_Return: pass", "with =="),
        ("combo.setItemData(0, 0, qt.Qt.UserRole - 1)", "do not compute"),
        ("row = int(qt.Qt.AlignLeft)", "no number"),
        ("row = qt.Qt.AlignLeft.value", "no value"),
    ],
)
def test_a_broken_rule_is_found(source: str, complaint: str) -> None:
    assert any(complaint in line for line in violations(source))


def test_what_is_allowed_passes() -> None:
    source = """
        import logging
        from typing import TYPE_CHECKING

        import ctk, numpy, qt, slicer, vtk, SimpleITK
        from vtk.util.numpy_support import vtk_to_numpy
        from DeepRegistrationLib.settings import Settings
        from . import nodes

        if TYPE_CHECKING:
            import DeepRegistrationLib

        def run(self, widget):
            import DeepRegistrationLib
            self.ui.nameEdit.setText(widget.text)
            table.item(0, 0).text()
            settings.value("key")
            widget.alignment = qt.Qt.AlignLeft | qt.Qt.AlignTop
            if widget.alignment == qt.Qt.AlignLeft:
                combo.setItemData(0, "why", qt.Qt.ToolTipRole)
            qt.QSettings().value("key", 3)
            slicer.util.loadVolume(path, properties={})
            return isinstance(widget, str) and nodes.values(sort=True)
    """
    assert violations(textwrap.dedent(source)) == []
