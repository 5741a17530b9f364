"""``learn``: trains a list of quick plans and writes down, with figures, what each learned on held-out pairs."""

from __future__ import annotations

import argparse
import platform
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from DeepRegistrationLib.device import choose_device
from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.files.writing import write_text

from ..limits import check_pair_count, set_threads
from ..pairs.make_manifest import make_manifest
from ..plan import PLANS, TrainingPlan, read_plan
from ..runs import checkpoint as files
from ..runs.export import trained
from ..runs.logs import read_log
from ..runs.speed import Speed, speed
from ..runs.train import start, with_data
from ..safe_files import read_text, replace_file
from .evaluate import Evaluated, Row, Wanted, evaluate
from .figures import MEASURES
from .tables import change, pyplot, values

LIST = Path(__file__).resolve().parents[1] / "learning.toml"
PAGE, CURVES = "learning.md", "learning-curves.png"
KEYS = ("plan", "title", "data", "folder", "images", "labels", "name", "change")


@dataclass(frozen=True)
class Learned:
    """A run of the list, done: wall and processor seconds, and the share of the time waited for pairs."""

    title: str
    data: str
    plan_name: str
    plan: TrainingPlan
    seconds: float
    processor: float
    waiting: float
    steps: int
    curve: list[dict[str, Any]]
    rows: list[Row]


def add_learn(commands: argparse._SubParsersAction) -> None:
    """``learn [LIST.toml] --images FOLDER --output docs``."""
    parser = commands.add_parser("learn", help="train the quick plans of a list and write what they learned")
    add_list_options(parser, LIST, Path("runs/learn"), 30, f"gets {PAGE} and its figures")
    parser.add_argument("--images", type=Path, default=Path(), metavar="FOLDER", help="where the list's folders lie")

    def run(options: argparse.Namespace) -> None:
        device = device_of(options)
        entries = read_list(options.list, options.only)
        done = [learn(entry, options.images, options.runs, options.pairs, device) for entry in entries]
        write_page(done, {}, options.output, device)  # in case that the rest is interrupted
        write_page(done, speeds(device), options.output, device)
        print(f"wrote {options.output / PAGE}")

    parser.set_defaults(run=run)


def add_list_options(parser: argparse.ArgumentParser, default: Path, runs: Path, pairs: int, gets: str) -> None:
    """The options of a command that trains the runs of a list; ``device_of`` reads some of them."""
    parser.add_argument("list", type=Path, nargs="?", default=default, metavar="LIST.toml")
    parser.add_argument("--runs", type=Path, default=runs, help="where runs are kept, and found if done")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help=gets)
    parser.add_argument("--only", nargs="+", metavar="RUN", help="of the list")
    parser.add_argument("--pairs", type=int, default=pairs, help=f"held-out pairs a run (default {pairs})")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, help="of the CPU")


def device_of(options: argparse.Namespace) -> torch.device:
    """Where to train; the number of threads is set.

    Raises:
        InputError: if one of the options cannot be used.
    """
    set_threads(options.threads)
    check_pair_count(options.pairs)
    return choose_device(options.device)


def read_list(path: Path, only: Sequence[str] | None = None) -> list[Mapping[str, Any]]:
    """The runs of a list.

    Raises:
        InputError: if it cannot be read or names something unknown.
    """
    try:
        entries = tomllib.loads(read_text(path, "list")).get("run", [])
    except (OSError, RecursionError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"The list {path} cannot be read ({error}).") from error
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise InputError(f"The list {path} needs tables [[run]].")
    for entry in entries:
        if "plan" not in entry or set(entry) - set(KEYS) or ("folder" in entry and "images" not in entry):
            raise InputError(
                f"A run of the list needs plan (and images with folder) and may have {', '.join(KEYS[1:])}, "
                f"not {sorted(entry)}."
            )
        texts = {key: value for key, value in entry.items() if key != "change"}
        wrong = next((key for key, value in texts.items() if not isinstance(value, str)), None)
        if wrong or not isinstance(entry.get("change", {}), Mapping):
            raise InputError(f"In the list {path} {wrong or 'change'} must be a {'text' if wrong else 'table'}.")
    names = [run_name(entry) for entry in entries]
    unknown = next((name for name in only or () if name not in names), None)
    if unknown is not None or not names:
        raise InputError(f"The list {path} has no run {unknown or 'at all'}; it has {', '.join(names) or 'nothing'}.")
    return [entry for entry in entries if only is None or run_name(entry) in only]


def run_name(entry: Mapping[str, Any]) -> str:
    """What the run of an entry is called: its name, else its plan's."""
    return str(entry.get("name", Path(entry["plan"]).stem))


def learn(entry: Mapping[str, Any], images: Path, runs: Path, pairs: int, device: torch.device) -> Learned:
    """Train one run of the list (or find it done), and evaluate it on held-out pairs.

    An entry's ``change`` is laid over its plan, so that the variants of one plan need no file each.
    """
    plan = read_plan(entry["plan"], entry.get("change"))
    if "folder" in entry:
        runs.mkdir(parents=True, exist_ok=True)
        manifest = runs / f"{entry['folder']}.json"
        make_manifest(images / entry["folder"], manifest, entry["images"], entry.get("labels"))
        plan = with_data(plan, manifest)
    name = run_name(entry)
    folder = runs / name
    start(plan, folder, str(device), tensorboard=False)
    network, header = trained(plan, folder, last=True)  # the best ones were chosen on these very pairs
    title = entry.get("title", plan.method.title)
    rows = evaluate([Evaluated(name, network, header, plan)], Wanted(pairs=pairs), device)
    state = files.read_checkpoint(folder / files.NAME)
    lines = read_log(folder)
    curve = [line for line in lines if line["kind"] == "validation"]
    steps = [line for line in lines if line["kind"] == "train"]
    processor = sum(line.get("processor", np.nan) for line in steps)
    waiting = float(np.mean([line["waiting"] for line in steps])) if steps else np.nan
    return Learned(
        title, entry.get("data", ""), name, plan, float(state["seconds"]), processor, waiting, int(state["step"]),
        curve, rows,
    )  # fmt: skip


def speeds(device: torch.device) -> dict[str, Speed]:
    """Of each smoke plan."""
    return {path.stem: speed(read_plan(path), device, 6, 2) for path in sorted(PLANS.glob("*-smoke.toml"))}


def write_page(done: Sequence[Learned], measured: Mapping[str, Speed], output: Path, device: torch.device) -> None:
    """``learning.md`` and ``figures/learning-curves.png`` in ``output``."""
    (output / "figures").mkdir(parents=True, exist_ok=True)
    replace_file(output / "figures" / CURVES, lambda partial: curves(done, partial))
    text = [
        "# What the trainers learn in minutes",
        "",
        "Written by `python -m Training learn`; do not edit.",
        "",
        f"{_machine(device)} Minutes are wall time of the training steps, on a machine that did other work, too. "
        "Every run starts from fresh weights and is judged on pairs of patients (or generated pairs) that it was not "
        "trained on, by the network alone, without refinement: mean ± standard deviation over the pairs, before → "
        "after. The plans are quicker than the papers' (fewer steps, larger learning rates, smaller images, some "
        "narrower networks; each says so in its first lines), so these figures show that a trainer works, not how "
        "good its method can be; learning rates and numbers of steps were tried out on these same pairs. The weights "
        "are the last ones.",
        "",
        *_table(done),
        "",
        f"![Validation during training](figures/{CURVES})",
        "",
        "The averaged network on (at most) the first 16 of the held-out pairs, as `log.jsonl` has it.",
        "",
        *(["## Speed", "", *_speed_table(measured, device), ""] if measured else []),
    ]
    write_text(output / PAGE, "\n".join(text))


def _table(done: Sequence[Learned]) -> list[str]:
    shown = [m for m in MEASURES if m.name in ("dice", "end_point", "folds")]
    titles = [
        "method",
        "data",
        "plan",
        "seed",
        "steps",
        "minutes",
        "of processor",
        "waiting",
        "pairs",
        *[m.title for m in shown],
        "better",
    ]
    lines = [f"| {' | '.join(titles)} |", f"| {' | '.join('---' for _ in titles)} |"]
    for run in done:
        cells = [
            run.title,
            run.data,
            f"`{run.plan_name}`",
            str(run.plan.seed),
            str(run.steps),
            f"{run.seconds / 60:.1f}",
            "" if np.isnan(run.processor) else f"{run.processor / 60:.1f}",
            f"{100 * run.waiting:.0f} %",
            str(len(run.rows)),
            *[change(run.rows, m) for m in shown],
            _better(run.rows),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return [
        *lines,
        "",
        "of processor: minutes of processor time, where the log has them; waiting: share of the time waited for pairs; "
        "better: pairs whose Dice rose.",
    ]


def _better(rows: Sequence[Row]) -> str:
    before, after = (values(rows, "dice", late) for late in (False, True))
    return f"{int(np.sum(after > before))} of {len(after)}"


def curves(done: Sequence[Learned], path: Path) -> None:
    """Dice and end-point error on held-out pairs against steps, a panel a run."""
    plt = pyplot()
    columns = min(3, len(done))
    lines = -(-len(done) // columns)
    figure, axes = plt.subplots(lines, columns, figsize=(4 * columns, 2.8 * lines), squeeze=False, layout="constrained")
    for axis in axes.flat[len(done) :]:
        axis.set_visible(False)
    for axis, run in zip(axes.flat, done, strict=False):
        at = [line["step"] for line in run.curve]
        axis.plot(at, [line.get("dice", np.nan) for line in run.curve], "o-", color="tab:blue", markersize=3)
        axis.axhline(run.curve[0].get("dice_before", np.nan), color="0.6", linestyle="--", linewidth=1)
        axis.set_title(f"{run.title}, {run.data}", fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.set_ylabel("Dice", color="tab:blue", fontsize=8)
        axis.tick_params(labelsize=8)
        if "end_point" in run.curve[0]:
            right = axis.twinx()
            right.plot(at, [line["end_point"] for line in run.curve], "s-", color="tab:orange", markersize=3)
            right.set_ylabel("end-point error (voxels)", color="tab:orange", fontsize=8)
            right.tick_params(labelsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _speed_table(measured: Mapping[str, Speed], device: torch.device) -> list[str]:
    how = "one thread, processor time" if device.type == "cpu" and torch.get_num_threads() == 1 else str(device)
    lines = [
        f"The smoke plans, {how}. Data: share of the time in which pairs are made "
        "or read, when that is done in turn with the steps. Waiting: share of the wall time for which the training "
        "loop, which gets pairs ahead, waits.",
        "",
        "| plan | method | voxels | batch | steps / s | data | waiting |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in measured.items():
        plan = read_plan(name)
        size = " x ".join(str(n) for n in plan.synthesis.shape) if plan.synthesis else ""
        lines.append(
            f"| `{name}` | {plan.method.title} | {size} | {plan.batch} | {found.steps_per_second:.2f} "
            f"| {100 * found.data_share:.0f} % | {100 * found.waiting:.1f} % |"
        )
    return lines


def _machine(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' * (threads > 1)}, torch {torch.__version__.split('+')[0]}."


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
