"""The dialect of PythonQt that the host speaks, and what of it is enforced."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from Testing.host import Host, boot, interact

boot()

import ctk
import qt
import slicer

VOLUME = "vtkMRMLScalarVolumeNode"


class TestPythonQtDialect:
    def test_properties_are_attributes(self) -> None:
        label = qt.QLabel("before")
        label.text = "after"
        assert label.text == "after"
        assert qt.QTableWidget(2, 3).columnCount == 3
        timer = qt.QTimer()
        timer.singleShot = True
        assert timer.singleShot is True

    def test_calling_a_property_raises(self) -> None:
        with pytest.raises(TypeError):
            qt.QLabel("x").text()
        with pytest.raises(TypeError):
            qt.QPushButton().enabled()
        with pytest.raises(TypeError):
            ctk.ctkSliderWidget().value()

    def test_keyword_arguments_raise(self) -> None:
        for call in (
            lambda: qt.QPushButton(text="x"),
            lambda: qt.QLabel().setText(text="x"),
            lambda: qt.QSize(width=3),
            lambda: ctk.ctkSliderWidget(parent=None),
            lambda: ctk.ctkSliderWidget().setValue(value=1.0),
            lambda: slicer.qMRMLNodeComboBox().setCurrentNode(node=None),
        ):
            with pytest.raises(ValueError, match="positional"):
                call()

    def test_unknown_attributes_raise(self) -> None:
        button = qt.QPushButton("x")
        with pytest.raises(AttributeError, match="creating new attributes"):
            button.note = 1
        with pytest.raises(AttributeError):
            _ = button.note
        with pytest.raises(AttributeError, match="can not be overwritten"):
            button.click = print
        with pytest.raises(AttributeError):
            ctk.ctkCollapsibleButton().setCollapsed(True)  # no slot in C++, so not in Python

    def test_a_python_subclass_may_have_attributes_and_keywords(self) -> None:
        class Panel(qt.QWidget):
            def __init__(self, logic: Any, parent: Any = None) -> None:
                super().__init__(parent)
                self.logic = logic

        assert Panel(logic=3).logic == 3

    def test_a_missing_signal_raises(self) -> None:
        with pytest.raises(RuntimeError, match="no signal"):
            qt.QPushButton().connect("pushed()", print)
        with pytest.raises(RuntimeError, match="no signal"):
            slicer.qMRMLNodeComboBox().connect("currentNodeChanged(vtkMRMLNode)", print)  # the * is missing

    def test_signals_connect_by_signature_and_by_name(self) -> None:
        heard: list[Any] = []
        slider = ctk.ctkSliderWidget()
        slider.connect("valueChanged(double)", heard.append)
        slider.valueChanged.connect(lambda: heard.append("no arguments wanted"))
        slider.value = 5
        assert heard == [5.0, "no arguments wanted"]
        assert slider.disconnect("valueChanged(double)", heard.append)
        slider.value = 6
        assert heard[2:] == ["no arguments wanted"]

    def test_a_connection_is_undone_by_either_name(self) -> None:
        heard: list[Any] = []
        button = qt.QPushButton()
        button.connect("clicked(bool)", heard.append)
        assert button.clicked.disconnect(heard.append)
        button.clicked.connect(heard.append)
        assert button.disconnect("clicked(bool)", heard.append)
        assert not button.disconnect("clicked(bool)", heard.append)
        button.click()
        assert heard == []

    def test_slots_get_as_many_arguments_as_they_take(self) -> None:
        class Listener:
            def __init__(self) -> None:
                self.heard: list[Any] = []

            def none(self) -> None:
                self.heard.append(())

            def optional(self, caller: Any = None, event: Any = None) -> None:
                self.heard.append((caller, event))

        listener = Listener()
        combo = qt.QComboBox()
        combo.connect("currentIndexChanged(int)", listener.none)
        combo.connect("currentIndexChanged(int)", listener.optional)
        combo.addItem("a")
        assert listener.heard == [(), (0, None)]

    def test_lists_come_back_as_tuples(self) -> None:
        widget = qt.QWidget()
        layout = qt.QVBoxLayout(widget)
        layout.addWidget(qt.QLabel("x"))
        assert isinstance(widget.findChildren(qt.QLabel), tuple)
        selector = slicer.qMRMLNodeComboBox()
        selector.nodeTypes = [VOLUME]
        assert selector.nodeTypes == (VOLUME,)

    def test_python_signals_are_hidden(self) -> None:
        assert not hasattr(qt, "Signal")

    def test_a_lost_exception_is_recorded(self, host: Host) -> None:
        def fail() -> None:
            raise KeyError("lost")

        button = qt.QPushButton()
        button.connect("clicked()", fail)
        button.click()
        qt.QTimer.singleShot(0, fail)
        slicer.mrmlScene.AddObserver(slicer.mrmlScene.NodeAddedEvent, lambda *_: fail())
        interact.process_events(20)
        slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
        slicer.mrmlScene.RemoveObservers(slicer.mrmlScene.NodeAddedEvent)
        assert [type(e) for e in host.errors] == [KeyError] * 3
        host.errors.clear()

    def test_a_process_reports_its_output(self) -> None:
        heard: list[Any] = []
        process = qt.QProcess()
        process.connect("readyReadStandardOutput()", lambda: heard.append(process.readAllStandardOutput().data()))
        process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: heard.append((code, status)))
        process.start(sys.executable, ["-c", "print('hello'); raise SystemExit(3)"])
        interact.wait_until(lambda: process.state() == qt.QProcess.NotRunning and len(heard) > 1)
        assert heard[0].split() == [b"hello"]
        assert heard[-1] == (3, qt.QProcess.NormalExit)
