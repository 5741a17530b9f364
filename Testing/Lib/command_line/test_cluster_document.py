"""Every line of docs/cluster.md that can be typed is one that the programs take; Snakemake's rule is run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from DeepRegistrationLib.command_line.exit import Parser
from DeepRegistrationLib.command_line.parsers import add_commands
from Testing.Lib.geometry.geometries import oblique
from Testing.Lib.quality.test_doubt import picture

ROOT = Path(__file__).resolve().parents[3]
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8"), re.DOTALL)
OURS = ("python -m DeepRegistrationLib ", "deep-registration ", "deep-registration.sif ")


def typed():
    """The command lines, with what other programs fill in as they would."""
    for _kind, text in BLOCKS:
        for line in re.sub(r"\\\n\s*", "", text).splitlines():
            begin = next((b for b in OURS if b in line), None)
            if begin is None or line.lstrip().startswith(("apptainer build", "docker build")):
                continue
            words = line.split(begin, 1)[1].split("||")[0].split('"')[0]
            words = re.sub(r"\$?\{[^{}]*\}|\$task\.\w+|\$\w+", "2", words)
            yield shlex.split(words, comments=True)


@pytest.mark.parametrize("words", [*typed()], ids=" ".join)
def test_a_command_of_ours_is_understood(words):
    parser = Parser()
    add_commands(parser.add_subparsers(dest="command", required=True))
    assert parser.parse_args(words).run


def test_the_document_says_each_way():
    said = [" ".join(words) for words in typed()]
    assert len(said) >= 12
    for command in ("batch", "collect", "template", "propagate"):
        assert any(line.startswith(command) for line in said)
    assert {kind for kind, _ in BLOCKS} >= {"snakemake", "nextflow", "python"}
    (nextflow,) = [text for kind, text in BLOCKS if kind == "nextflow"]
    assert nextflow.count("{") == nextflow.count("}")
    assert nextflow.count('"""') == 2
    assert len(nextflow.splitlines()) < 30


def test_what_is_typed_for_dask_is_understood_by_it():
    pytest.importorskip("distributed", reason="Dask is not installed")
    from distributed.cli import dask_scheduler, dask_worker

    programs = {"dask scheduler": dask_scheduler.main, "dask worker": dask_worker.main}
    lines = [line for _, text in BLOCKS for line in text.splitlines() if line.startswith(tuple(programs))]
    assert len(lines) == 2
    for line in lines:
        known = {name for parameter in programs[" ".join(line.split()[:2])].params for name in parameter.opts}
        known |= {n for p in programs[" ".join(line.split()[:2])].params for n in p.secondary_opts}
        assert {word for word in line.split("#")[0].split() if word.startswith("--")} <= known


def test_the_container_takes_what_is_here():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("COPY"):
            assert all((ROOT / source).exists() for source in line.split()[1:-1])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (extras,) = re.findall(r"/source\[([\w,]+)\]", text)
    assert {*extras.split(",")} <= {*project["project"]["optional-dependencies"]}
    packages = {name.rstrip("*") for name in project["tool"]["setuptools"]["packages"]["find"]["include"]}
    assert packages <= {*re.findall(r"COPY (\w+) /source/", text)}
    entry = re.search(r'ENTRYPOINT \["python", "-m", "(\w+)"\]', text)[1]
    run = subprocess.run([sys.executable, "-m", entry, "--help"], cwd=ROOT, capture_output=True, check=True)
    assert b"batch" in run.stdout


@pytest.mark.slow
def test_snakemake_runs_its_rule(tmp_path):
    """Of the document's very text, on two generated pairs; DEEP_REGISTRATION_SNAKEMAKE may name the program."""
    snakemake = shutil.which(os.environ.get("DEEP_REGISTRATION_SNAKEMAKE", "snakemake"))
    if snakemake is None:
        pytest.skip("Snakemake is not installed")
    for name in "abc":
        picture(oblique((20, 22, 24)), ord(name)).save(tmp_path / f"{name}.nrrd")
    (tmp_path / "pairs.csv").write_text("fixed,moving\na.nrrd,b.nrrd\na.nrrd,c.nrrd\n", encoding="utf-8")
    (text,) = [text for kind, text in BLOCKS if kind == "snakemake"]
    (tmp_path / "Snakefile").write_text(text, encoding="utf-8")
    here = Path(sys.executable).parent
    environment = dict(os.environ, PYTHONPATH=str(ROOT), PATH=f"{here}{os.pathsep}{os.environ['PATH']}")
    command = [snakemake, "--cores", "2", "--config", "shards=2"]
    for again in (False, True):
        run = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, encoding="utf-8"
        )
        assert run.returncode == 0, run.stderr[-2000:]
        assert ("Nothing to be done" in run.stdout + run.stderr) is again
    assert (tmp_path / "out" / "index.html").is_file()
    assert len([*(tmp_path / "out").glob("*/transform.h5")]) == 2
