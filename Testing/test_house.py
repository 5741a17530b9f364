"""The arrows of the house: which room may use which, no circles, and that importing does nothing.

The plan of the rooms is in ``architecture.py``, which draws it, too.
"""

import ast
import functools
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .architecture import ARROWS, FLOORS, ROOT, arrows

STANDARD = sys.stdlib_module_names


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """(top-level name, at module level?) of every import of another package in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = set(map(id, ast.walk(ast.Module([n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)], []))))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], id(node) in top
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0], id(node) in top


@pytest.mark.parametrize("package", ARROWS)
def test_a_room_uses_only_the_rooms_below_it(package):
    allowed = {room: {*text.split(), room} for room, text in ARROWS[package].items()}
    for path, targets in arrows(package).items():
        assert path[0] in allowed, f"{package} has a room {path[0]} that is not in the plan"
        for target in targets:
            assert target[0] in allowed[path[0]], f"{package}: {'/'.join(path)} may not use {'/'.join(target)}"


@pytest.mark.parametrize("package", ARROWS)
def test_the_plan_itself_has_no_circles_and_no_empty_rooms(package):
    plan = {room: set(text.split()) for room, text in ARROWS[package].items()}
    assert {path[0] for path in arrows(package)} == set(plan)
    assert not circle(plan), circle(plan)


@pytest.mark.parametrize("package", ARROWS)
def test_the_plan_allows_no_arrow_that_nobody_uses(package):
    used = {(path[0], target[0]) for path, targets in arrows(package).items() for target in targets}
    idle = [f"{room} -> {other}" for room, text in ARROWS[package].items() for other in text.split()]
    idle = [arrow for arrow in idle if tuple(arrow.split(" -> ")) not in used]
    assert not idle, idle


@pytest.mark.parametrize("package", FLOORS)
def test_no_file_goes_round_in_a_circle(package):
    graph = arrows(package)
    # A room's __init__ may show what its files hold.
    graph = {path: {t for t in targets if path[-1] != "__init__"} for path, targets in graph.items()}
    assert not circle(graph), " -> ".join("/".join(part) for part in circle(graph))


def circle(graph):
    """Some way round in ``graph``, or nothing."""
    done = set()

    def visit(node, above):
        if node in above:
            return [*above[above.index(node) :], node]
        if node in done:
            return []
        for target in graph.get(node, ()):
            found = visit(target, [*above, node])
            if found:
                return found
        done.add(node)
        return []

    for node in graph:
        found = visit(node, [])
        if found:
            return found
    return []


def test_a_circle_is_found():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}}) == []


@pytest.mark.parametrize(
    ("folder", "always", "lazily"),
    [
        ("DeepRegistrationLib", {"torch", "numpy", "SimpleITK"}, {"matplotlib", "distributed", "pydicom"}),
        (
            "Training",
            {"torch", "numpy", "SimpleITK", "DeepRegistrationLib", "Training"},
            {"matplotlib", "h5py", "tensorboard"},
        ),
    ],
)
def test_the_libraries_import_only_what_is_theirs(folder, always, lazily):
    for path in (ROOT / folder).rglob("*.py"):
        for name, at_top in imports(path):
            allowed = always | (set() if at_top else lazily)
            assert name in STANDARD or name in allowed, f"{path.relative_to(ROOT)} imports {name}"


def test_importing_the_library_loads_neither_torch_nor_simpleitk():
    code = "import sys, DeepRegistrationLib; print([m for m in ('torch', 'numpy', 'SimpleITK') if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True, encoding="utf-8"
    )
    assert run.stdout.strip() == "[]"


def test_what_slicer_imports_of_the_library_loads_no_torch():
    trees = [ast.parse(p.read_text(encoding="utf-8")) for p in (ROOT / "DeepRegistration").rglob("*.py")]
    found = {n.module for t in trees for n in ast.walk(t) if isinstance(n, ast.ImportFrom) and n.level == 0}
    modules = sorted(name for name in found if name.startswith("DeepRegistrationLib."))
    assert "DeepRegistrationLib.models.header" in modules
    code = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True, encoding="utf-8"
    )
    assert run.stdout.strip() == "False"


def test_every_promised_name_is_there():
    import DeepRegistrationLib

    for name in DeepRegistrationLib.__all__:
        assert getattr(DeepRegistrationLib, name).__name__ == name


HOUSE = [
    p
    for folder in ("DeepRegistration", "DeepRegistrationLib", "Training", "benchmarks")
    for p in (ROOT / folder).rglob("*.py")
]


def test_files_and_functions_are_short_enough_to_read():
    for path in [*HOUSE, *(ROOT / "Testing").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") < 400, f"{path.relative_to(ROOT)} has {text.count(chr(10))} lines; split it"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node):
                    lines -= node.body[0].end_lineno - node.body[0].lineno + 1
                assert lines <= 70, f"{path.relative_to(ROOT)}: {node.name} has {lines} lines"


SAID_WITH_THEIR_MODULE = {"main", "load", "write", "steps"}
"""``samples.load``, ``report_page.write``; and what each trainer is made of."""
FOR_TESTS_TOO = {"head_phantom": "a head in both contrasts, for many tests", "processId": "to end what stays"}


@functools.cache
def defined(path: Path, kinds: Any = ast.FunctionDef | ast.ClassDef) -> list[tuple[str, bool]]:
    """(name, at module level?) of every class and function of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [(node.name, node in tree.body) for node in ast.walk(tree) if isinstance(node, kinds)]


@pytest.mark.parametrize("package", ["DeepRegistrationLib", "DeepRegistrationSlicer", "Training"])
def test_one_name_is_one_thing(package):
    places: dict[str, Path] = {}
    for path in sorted(FLOORS[package].rglob("*.py")):
        for name, at_top in defined(path):
            if at_top and not name.startswith("_") and name not in SAID_WITH_THEIR_MODULE:
                first = places.setdefault(name, path)
                assert first == path, f"{name} is in {path.relative_to(ROOT)} and {first.relative_to(ROOT)}"


@pytest.mark.parametrize(
    ("package", "kinds"), [("DeepRegistrationSlicer", ast.FunctionDef | ast.ClassDef), ("Training", ast.ClassDef)]
)
def test_no_name_of_the_library_is_something_else_in_another_package(package, kinds):
    def names(floor: str) -> dict[str, Path]:
        every = ((*found, path) for path in FLOORS[floor].rglob("*.py") for found in defined(path, kinds))
        return {name: path.relative_to(ROOT) for name, at_top, path in every if at_top and name[0] != "_"}

    library, other = names("DeepRegistrationLib"), names(package)
    twice = sorted(set(library) & set(other) - SAID_WITH_THEIR_MODULE)
    assert not twice, [f"{name}: {library[name]}, {other[name]}" for name in twice]


PACKAGES = ("DeepRegistrationLib", "DeepRegistrationSlicer")
SEEN_FROM_BOTH_SIDES = {"errors.py", "landmarks.py", "methods.py", "preview.py", "report_page.py"}
"""The library computes, defines or writes it, Slicer shows it."""


def test_a_file_name_is_one_thing():
    names = {
        package: Counter(path.name for path in FLOORS[package].rglob("*.py") if path.name != "__init__.py")
        for package in PACKAGES
    }
    twice = [name for found in names.values() for name, count in found.items() if count > 1]
    assert not twice, twice
    assert set(names[PACKAGES[0]]) & set(names[PACKAGES[1]]) == SEEN_FROM_BOTH_SIDES


def test_a_constant_that_other_files_use_is_one_thing():
    """One that its own file alone uses is read beside what it is for."""
    places: dict[str, list[Path]] = {}
    imported: set[str] = set()
    for path in sorted(path for package in PACKAGES for path in FLOORS[package].rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in tree.body:
            names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
            for name in names if isinstance(node, ast.Assign | ast.AnnAssign) else []:
                places.setdefault(name, []).append(path.relative_to(ROOT))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                imported.update(alias.name for alias in node.names)
    twice = {name: paths for name, paths in places.items() if len(paths) > 1 and name in imported and name.isupper()}
    del (
        twice["TYPE_CHECKING"],
        twice["UNIVERSAL"],
    )  # ``catalog.UNIVERSAL``; ``presets.UNIVERSAL`` trains it
    assert not twice, "\n".join(f"{name}: {', '.join(map(str, paths))}" for name, paths in twice.items())


@pytest.mark.parametrize("package", ["DeepRegistrationLib", "DeepRegistrationSlicer"])
def test_nothing_is_there_for_tests_alone(package):
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    words: Counter[str] = Counter()
    for path in [*HOUSE, *pages]:
        words.update(re.findall(r"\w+", path.read_text(encoding="utf-8")))
    for path in FLOORS[package].rglob("*.py"):
        for name, _ in defined(path):
            is_hook = name.startswith("__")
            assert words[name] > 1 or is_hook or name in FOR_TESTS_TOO, f"{path.relative_to(ROOT)}: {name} is not used"


def test_the_stops_of_the_walk_are_where_the_page_says():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    stops = re.findall(r"^\| \d+ \| (.+?) \|", page, re.MULTILINE)
    assert f"{len(stops)} stops" in page
    for stop in stops:
        files = [base / name for name in re.findall(r"`([\w/]+\.py)`", stop) for base in FLOORS.values()]
        text = "\n".join(path.read_text(encoding="utf-8") for path in files if path.is_file())
        assert text, f"no file of {stop}"
        for name in re.findall(r"`(?:[A-Z]\w+\.)?(\w+)`", stop):
            assert f"def {name}(" in text, f"{name} is not in {stop}"


NOT_OURS = {"evaluation.py": "Learn2Reg's", "panel/name_section.py": "what a newcomer adds"}


def test_every_file_that_a_sentence_names_is_there():
    there = {"/" + path.relative_to(ROOT).as_posix() for path in [*HOUSE, *(ROOT / "Testing").rglob("*.py")]}
    for path in [*HOUSE, *(ROOT / "Testing").rglob("*.py"), ROOT / "docs" / "architecture.md"]:
        for name in re.findall(r"`([\w/]+\.py)`", path.read_text(encoding="utf-8")):
            found = name in NOT_OURS or any(file.endswith(f"/{name}") for file in there)
            assert found, f"{path.relative_to(ROOT)} names {name}, which is not there"


def names_no_encoding(node: ast.AST) -> bool:
    """Is this a call that turns bytes into text, or back, in whatever encoding the machine has?"""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    if "encoding" in given:
        return False
    if node.func.attr in ("read_text", "write_text"):
        return len(node.args) < (1 if node.func.attr == "read_text" else 2)
    if node.func.attr == "open" and not isinstance(node.func.value, ast.Name | ast.Attribute):
        modes = [*node.args, given.get("mode")]
        return not any(isinstance(mode, ast.Constant) and "b" in str(mode.value) for mode in modes)
    starts = node.func.attr in ("run", "Popen", "check_output")
    return starts and ("text" in given or "universal_newlines" in given)


def test_text_is_read_and_written_as_utf8_on_every_machine():
    for path in sorted({*HOUSE, *(ROOT / "Testing").rglob("*.py")}):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not names_no_encoding(node), f"{path.relative_to(ROOT)}:{node.lineno} names no encoding"
