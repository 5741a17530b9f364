"""Training plans: one TOML file says all of a run. Checked before anything is read or computed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.files.writing import write_text
from DeepRegistrationLib.models.catalog import Method
from DeepRegistrationLib.models.header import NetworkGrid, Normalization
from DeepRegistrationLib.models.methods import find_method
from DeepRegistrationLib.models.presets import Optimizer

from .limits import LARGEST_SEED
from .plan_checks import check_data, check_optimizer, check_schedule
from .safe_files import read_text
from .setting_types import check_known, check_numbers, check_setting
from .synthesis import SynthesisPlan, plan_from
from .synthesis.plan import LATER, DeformPlan

T = TypeVar("T")
PLANS = Path(__file__).resolve().parent / "plans"
"""The plans that come with the project; ``PLAN`` may be the name of one."""

RUN_PLAN = "plan.json"


@dataclass(frozen=True)
class DataPlan:
    """Real images.

    Attributes:
        manifest: Learn2Reg's JSON; a path relative to the plan.
        pairing: "pairwise" (any two patients), "atlas" (onto one image) or "intra" (two images of one patient).
        atlas: the fixed image of "atlas": a path as the manifest has it.
        shape, spacing, orientation: the network's grid, see ``NetworkGrid``.
        normalization: intensities, see ``Normalization``; what is not given is the method's.
        validation: share of the patients held out where the manifest has no validation list.
        labels: ids to score and to learn from; all if empty.
        mask_threshold: label maps become masks: 1 above it. (X-ray masks are 0 and 255, blurred by JPEG.)
        deform: if given, the moving image of an aligned pair is deformed, with the true field (Deform-GAN, SAR-Net).
        cache_gb: memory for prepared images; what does not fit is read again.
        longest, shortest: see ``NetworkGrid``: images of any size, the moving one resampled onto the fixed one.
        fixed_images, moving_images: patterns of names ("*_0000.nii.gz"), with "intra": pairs are drawn one way, of
            the one kind and the other (a translator of T1 into T2 learns nothing from T2 into T1). Both ways if empty.
        moving_normalization: of the moving images, where the two kinds need their own (CT and MR).
    """

    manifest: str
    pairing: str = "pairwise"
    atlas: str = ""
    shape: tuple[int, ...] | None = None
    spacing: tuple[float, ...] | None = None
    orientation: str | None = None
    normalization: Normalization = field(default_factory=Normalization)
    validation: float = 0.2
    labels: tuple[int, ...] = ()
    mask_threshold: float | None = None
    deform: DeformPlan | None = None
    cache_gb: float = 4.0
    longest: int | None = field(default=None, metadata=LATER)
    shortest: int | None = field(default=None, metadata=LATER)
    moving_normalization: Normalization | None = field(default=None, metadata=LATER)
    fixed_images: str = field(default="", metadata=LATER)
    moving_images: str = field(default="", metadata=LATER)

    @property
    def grid(self) -> NetworkGrid:
        return NetworkGrid(self.orientation, self.spacing, self.shape, self.longest, self.shortest)


@dataclass(frozen=True)
class Schedule:
    """How long, how fast, and what is kept.

    Attributes:
        steps: updates of the registration network.
        batch: pairs a step, over all processes together; None: the preset's.
        warm_up: steps over which the learning rate rises from 0.
        decay: "none" or "cosine" (to 2 % of the learning rate at the end).
        fade_in: share of the steps over which the deformation of synthetic pairs grows from a quarter to all.
        clip: largest norm of a network's gradient; 0: none.
        average: decay of the running average of the weights, which is validated and exported; 0: none.
        precision: of the networks' convolutions; losses and weights are float32.
        validate_every, checkpoint_every, log_every, pictures_every: steps; 0: never.
        validation_pairs: pairs in a validation.
        patience: validations without a better score after which the run ends; 0: never.
    """

    steps: int = 10_000
    batch: int | None = None
    warm_up: int = 0
    decay: str = "none"
    fade_in: float = 0.0
    clip: float = 0.0
    average: float = 0.0
    precision: str = "float32"
    validate_every: int = 500
    validation_pairs: int = 16
    checkpoint_every: int = 500
    log_every: int = 20
    pictures_every: int = 0
    patience: int = 0


@dataclass(frozen=True)
class TrainingPlan:
    """A whole run; ``data`` or ``synthesis`` (or both: the label maps of the data, synthetic images).

    Attributes:
        method, variant, preset: of the catalog of methods.
        network: arguments of the network's constructor beyond the number of dimensions.
        optimizer, loss, options: the preset's and variant's values with the plan's changes.
        folder: of the plan file, for relative paths; not part of the plan's hash.
    """

    method: Method
    variant: str
    preset: str
    network: Mapping[str, Any]
    optimizer: Optimizer
    loss: Mapping[str, Any]
    options: Mapping[str, Any]
    data: DataPlan | None
    synthesis: SynthesisPlan | None
    schedule: Schedule
    seed: int = 0
    folder: Path = field(default=Path())

    @property
    def batch(self) -> int:
        return self.schedule.batch or self.optimizer.batch

    def describe(self) -> dict[str, Any]:
        """The resolved plan as plain data, without machine-dependent paths."""
        table = asdict(replace(self, method=None, folder=Path()))  # type: ignore[arg-type]
        del table["folder"]
        for name in ("data", "synthesis", "schedule"):
            _forget_unused(getattr(self, name), table[name])
        if table["data"]:
            table["data"]["manifest"] = Path(table["data"]["manifest"]).name
        return json.loads(json.dumps({**table, "method": self.method.name}, default=dict))

    def hash(self) -> str:
        """sha256 of the resolved plan: two runs with one hash did the same thing."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()


def plan_again(description: Mapping[str, Any], folder: Path = Path()) -> TrainingPlan:
    """The plan of what ``TrainingPlan.describe`` gave (as bundles and run folders hold it).

    Raises:
        InputError: if it cannot be understood.
    """
    if not isinstance(description, Mapping):
        raise InputError("The plan of this run is not a table of settings; it is damaged.")
    known = {key: value for key, value in _given(description).items() if key in _TOP}
    return plan_of(known, folder)


def write_plan(plan: TrainingPlan, folder: Path) -> None:
    """``plan.json`` in a run's folder, for ``read_run_plan``; with the manifest's place on this machine."""
    table = plan.describe()
    if plan.data is not None:
        table["data"]["manifest"] = str((plan.folder / plan.data.manifest).resolve())
    write_text(folder / RUN_PLAN, json.dumps(table, indent=1))


def read_run_plan(folder: Path) -> TrainingPlan:
    """The plan of a run's folder.

    Raises:
        InputError: if the folder holds no run.
    """
    try:
        table = json.loads(read_text(folder / RUN_PLAN, "plan"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"The folder {folder} holds no run: there is no {RUN_PLAN} in it that can be read.") from error
    return plan_again(table)


def _given(table: Mapping[str, Any]) -> dict[str, Any]:
    """Without the settings that are None: those are the defaults, and TOML could not say them."""
    return {
        key: _given(value) if isinstance(value, Mapping) else value for key, value in table.items() if value is not None
    }


def _forget_unused(part: Any, table: dict[str, Any] | None) -> None:
    """Drop settings that came later and are not used, so that an older run's plan keeps its hash."""
    if table is None:
        return
    for f in fields(part):
        if f.metadata == LATER and getattr(part, f.name) == f.default:
            del table[f.name]


def read_plan(path: Path | str, changes: Mapping[str, Any] | None = None) -> TrainingPlan:
    """The plan in a TOML file, or the one of ``PLANS`` with that name; ``changes`` are laid over its settings.

    Raises:
        InputError: if the file cannot be read, or says something that is not a setting or cannot be.
    """
    path = Path(path)
    with contextlib.suppress(OSError):  # a name too long is said below
        if not path.exists() and (PLANS / f"{path.name}.toml").exists():
            path = PLANS / f"{path.name}.toml"
    try:
        table = tomllib.loads(read_text(path, "plan"))
    except FileNotFoundError as error:
        names = ", ".join(sorted(p.stem for p in PLANS.glob("*-smoke.toml")))
        raise InputError(
            f"There is no plan {path}; give a TOML file, or the name of one in Training/plans (such as {names})."
        ) from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InputError(f"The plan {path} cannot be read ({error}).") from error
    return plan_of(_laid_over(table, changes or {}), path.resolve().parent)


def _laid_over(table: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The table with the values of ``changes``; tables within are merged."""
    both = dict(table)
    for key, value in changes.items():
        within = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = _laid_over(both[key], value) if within else value
    return both


_TOP = (
    "method",
    "variant",
    "preset",
    "seed",
    "network",
    "optimizer",
    "loss",
    "options",
    "data",
    "synthesis",
    "schedule",
)


def plan_of(table: Mapping[str, Any], folder: Path = Path()) -> TrainingPlan:
    """The plan of a table, see ``read_plan``."""
    check_known("plan", table, _TOP)
    if "method" not in table:
        raise InputError('The plan names no method; add a line such as method = "voxelmorph-2".')
    method = find_method(str(table["method"]))
    if not method.variants:
        raise InputError(f"The method {method.name} has no network to train; choose another one.")
    variant = method.variant(table.get("variant"))
    preset = method.preset(table.get("preset"))
    for part in ("network", "optimizer", "loss", "options", "data", "synthesis", "schedule"):
        if not isinstance(table.get(part, {}), Mapping):
            raise InputError(f"[{part}] must be a table of settings.")
    for part in ("network", "loss", "options"):
        check_numbers(table.get(part, {}), part)
    data = _data(table["data"], method.normalization) if "data" in table else None
    synthesis = plan_from(table["synthesis"]) if "synthesis" in table else None
    if data is None and synthesis is None:
        raise InputError(
            "The plan has neither [data] nor [synthesis]; add one, so that there is something to learn from."
        )
    if synthesis is not None and synthesis.families.get("given") and data is None:
        raise InputError("The family given takes the label maps of [data]; add that table, or choose another family.")
    schedule = _replaced(Schedule(), table.get("schedule", {}), "schedule")
    check_schedule(schedule)
    optimizer = _replaced(preset.optimizer, table.get("optimizer", {}), "optimizer")
    check_optimizer(optimizer)
    return TrainingPlan(
        method,
        variant.name,
        preset.name,
        dict(table.get("network", {})),
        optimizer,
        {**preset.loss, **variant.loss, **table.get("loss", {})},
        {**preset.options, **variant.options, **table.get("options", {})},
        data,
        synthesis,
        schedule,
        _whole_number(table.get("seed", 0), "seed"),
        folder,
    )


def _data(table: Mapping[str, Any], normalization: Normalization) -> DataPlan:
    values = dict(table)
    if not isinstance(values.get("manifest"), str):
        raise InputError("[data] needs manifest, the path of a Learn2Reg JSON file.")
    values["normalization"] = _replaced(normalization, values.get("normalization", {}), "data.normalization")
    if "deform" in values:
        values["deform"] = _replaced(DeformPlan(fixed=False), values["deform"], "data.deform")
    if values.get("moving_normalization") is not None:
        values["moving_normalization"] = _replaced(
            normalization, values["moving_normalization"], "data.moving_normalization"
        )
    plan = _replaced(DataPlan(""), values, "data")
    check_data(plan)
    return plan


def _replaced(default: T, table: Any, name: str) -> T:
    """``default`` with the table's values, each of the type of the one it replaces."""
    known = {f.name: getattr(default, f.name) for f in fields(default)}  # type: ignore[arg-type]
    check_known(name, table, known)
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    for key, value in values.items():
        check_setting(type(default), key, value, f"{name}.{key}")
        values[key] = float(value) if isinstance(known[key], float) and value is not None else value
    return replace(default, **values)  # type: ignore[type-var]


def _whole_number(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LARGEST_SEED:
        raise InputError(f"{name} must be a whole number from 0 to {LARGEST_SEED}, not {str(value)[:40]}.")
    return value
