"""What the library says of a result is read in the user's language."""

from __future__ import annotations

import ast
import re
from types import SimpleNamespace

import pytest

from ..cases import MODULE

from DeepRegistrationSlicer.registration import report_words, verdict_sentences  # isort: skip
from DeepRegistrationSlicer.registration.verdict_sentences import forms, translated  # isort: skip

LIBRARY = MODULE.parent / "DeepRegistrationLib"


def said_by_the_library(name):
    """Every sentence that a file of the library is made to say, * for what is filled in."""
    tree = ast.parse((LIBRARY / name).read_text(encoding="utf-8"))
    docs = {id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, ast.Module | ast.FunctionDef) and n.body
            and isinstance(n.body[0], ast.Expr)}  # fmt: skip
    docs |= {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    inner = {id(v) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for v in n.values}
    for node in ast.walk(tree):
        if id(node) in docs | inner:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(v.value if isinstance(v, ast.Constant) else "*" for v in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if text.endswith(".") and " " in text:
            yield text


def test_every_sentence_of_the_verdict_has_its_form():
    patterns = [re.sub(r"\{\w+\}", "7", form) for form in forms(str)]
    for sentence in said_by_the_library("quality/verdict.py"):
        wanted = re.escape(sentence).replace(r"\*", ".+")
        assert any(re.fullmatch(wanted, known) for known in patterns), sentence


def test_numbers_go_into_the_translation():
    upper = translated("The field folds in 0.70 % of the image: more smoothness is needed.", shouting)
    assert upper == "THE FIELD FOLDS IN 0.70 % OF THE IMAGE: MORE SMOOTHNESS IS NEEDED."
    pair = "Landmark pair P3 (41 mm off) disagrees with the others and did not count for the starting alignment: "
    assert translated(f"{pair}check its places.", shouting).startswith("LANDMARK PAIR P3 (41 mm off) DISAGREES")
    assert translated("Something new.", shouting) == "Something new."


def shouting(text):
    return "".join(part if part.startswith("{") else part.upper() for part in re.split(r"(\{\w+\})", text))


def test_the_panel_reads_them_translated(monkeypatch):
    monkeypatch.setattr(report_words, "translated", lambda sentence: translated(sentence, shouting))
    report = {"verdict": "check", "reasons": ["The field folds in 0.0100 % of the image."]}
    assert report_words.verdict(report)[1].endswith("THE FIELD FOLDS IN 0.0100 % OF THE IMAGE.")
    assert verdict_sentences.translated is translated


@pytest.mark.parametrize("bends", [True, False])
def test_what_the_library_really_says_is_recognized(bends):
    from DeepRegistrationLib.quality.report import Report

    for doubt in (10.0, 60.0, 90.0, float("nan")):
        report = Report("none", "fast", "auto", "cpu", "0", result="deformable" if bends else "rigid")
        report.doubt_percent, report.similarity_before, report.similarity_after = doubt, 0.1, 0.3
        report.mirror = SimpleNamespace(gain=2.0 if doubt > 50 else 0.5, direction="front to back")
        for reason in report.judge()[1]:
            assert translated(reason, shouting) != reason, reason
