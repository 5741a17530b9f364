"""The loop: resumed runs are the runs that were never stopped, several processes are one, nothing is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from DeepRegistrationLib.errors import InputError
from DeepRegistrationLib.losses.perceptual import VGG16Features
from DeepRegistrationLib.models.bundle import load_model, save_bundle
from DeepRegistrationLib.models.methods import find_method, fresh_model
from DeepRegistrationLib.models.safetensors import write_weights
from Testing.data import ROOT
from Testing.Training.small_runs import tiny_plan, write_data
from Training.__main__ import KEPT, main
from Training.pairs.synthetic import SyntheticSource
from Training.plan import TrainingPlan, read_plan
from Training.runs import checkpoint as files
from Training.runs.checkpoint import TrainingFailed, read_checkpoint, write_checkpoint
from Training.runs.export import export
from Training.runs.logs import read_log
from Training.runs.run import Run
from Training.runs.train import source_of, start
from Training.runs.validation import score_pair
from Training.steps import steps_of
from Training.steps.frozen_encoder import perceptual_term

CPU = torch.device("cpu")
METHODS = ["universal", "voxelmorph-1", "dual-branch", "deform-gan", "sar-net", "flownet-roi"]


def trained(plan: TrainingPlan, folder: Path, stop: int | None = None) -> list[dict[str, Any]]:
    """Train to the end, or by hand to ``stop``; the training lines of the log."""
    if stop is not None:
        run = Run(plan, source_of(plan, CPU), CPU)
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(stop):
            run.update(run.fetch(run.progress.step))
        write_checkpoint(folder / files.NAME, run.state())
        return []
    start(plan, folder, "cpu", tensorboard=False, quiet=True)
    return [line for line in read_log(folder) if line["kind"] == "train"]


def small(method: str) -> dict[str, Any]:
    """Arguments that make a method's networks small."""
    if method == "sar-net":
        return {"network": {"blocks": 2, "width": 8}}
    if method == "flownet-roi":
        return {"network": {"width": 0.05}, "synthesis": {"shape": [64, 64]}}
    return {}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_stopped_at_any_step_and_resumed_has_the_same_losses(method: str, tmp_path: Path) -> None:
    plan = tiny_plan(method, 3, schedule={"average": 0.9, "warm_up": 2, "decay": "cosine"}, **small(method))
    whole = trained(plan, tmp_path / "whole")
    trained(plan, tmp_path / "parts", stop=2)
    resumed = trained(plan, tmp_path / "parts")
    assert [line["step"] for line in resumed] == [3]
    for a, b in zip(whole[2:], resumed, strict=True):
        assert a["loss"] == b["loss"]
    one, two = (read_checkpoint(tmp_path / name / files.NAME) for name in ("whole", "parts"))
    for name, weights in one["networks"].items():
        for key, value in weights.items():
            assert torch.equal(value, two["networks"][name][key]), (name, key)
    for key, value in one["average"].items():
        assert torch.equal(value, two["average"][key])


def plan_file(folder: Path, steps: int, batch: int = 2) -> Path:
    path = folder / "plan.toml"
    path.write_text(
        'method = "universal"\n[synthesis]\nshape = [32, 32]\nfamilies = { shapes = 1.0 }\n'
        f"[schedule]\nsteps = {steps}\nbatch = {batch}\nvalidate_every = 0\ncheckpoint_every = 3\nlog_every = 1\n",
        encoding="utf-8",
    )
    return path


COMMAND = """
import sys, torch
torch.set_num_threads(1)
from pathlib import Path
from Training.plan import read_plan
from Training.runs.train import start
start(read_plan(sys.argv[1]), Path(sys.argv[2]), "cpu", tensorboard=False, quiet=True)
"""


def test_a_killed_process_resumes_with_the_same_losses(tmp_path: Path) -> None:
    path = plan_file(tmp_path, 16)
    trained(read_plan(path), tmp_path / "whole")
    process = subprocess.Popen([sys.executable, "-c", COMMAND, str(path), str(tmp_path / "killed")], cwd=ROOT)
    deadline = time.monotonic() + 240
    while len(read_log(tmp_path / "killed")) < 5 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    trained(read_plan(path), tmp_path / "killed")
    losses = [[(line["step"], line["loss"]) for line in read_log(tmp_path / name)] for name in ("whole", "killed")]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 16


@pytest.mark.slow
def test_two_processes_learn_as_one_with_twice_the_batch(tmp_path: Path) -> None:
    path = plan_file(tmp_path, 6)
    script = tmp_path / "run.py"
    script.write_text(COMMAND, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*launch, str(script), str(path), str(tmp_path / "two")],
        cwd=ROOT, env=environment, check=True, timeout=300, capture_output=True,
    )  # fmt: skip
    subprocess.run(
        [sys.executable, str(script), str(path), str(tmp_path / "one")], cwd=ROOT, env=environment, check=True
    )
    one, two = ([line["loss"] for line in read_log(tmp_path / name)] for name in ("one", "two"))
    assert len(one) == len(two) == 6
    assert one == pytest.approx(two, rel=2e-3)


def test_a_folder_with_another_plans_run_is_refused(tmp_path: Path) -> None:
    trained(tiny_plan(steps=1), tmp_path / "run")
    with pytest.raises(InputError, match="another plan"):
        trained(tiny_plan(steps=1, seed=5), tmp_path / "run")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / files.NAME).write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="cannot be read"):
        trained(tiny_plan(steps=1), tmp_path / "bad")


def test_what_a_method_needs_and_the_data_lack_is_said_before_training(tmp_path: Path) -> None:
    manifest = write_data(tmp_path / "data", 3)
    data = {"manifest": str(manifest), "validation": 0.0}
    with pytest.raises(InputError, match="known fields"):
        start(_real_plan("universal", data), tmp_path / "run", "cpu", tensorboard=False, quiet=True)
    table = json.loads(manifest.read_text(encoding="utf-8"))
    bare = [{"image": entry["image"], "label": None} for entry in table["training"]]
    (tmp_path / "data" / "labelsTr").rename(tmp_path / "data" / "elsewhere")
    manifest.write_text(json.dumps({"training": bare}), encoding="utf-8")
    plan = _real_plan("flownet-roi", data, variant="pn-mask", network={"width": 0.05})
    with pytest.raises(InputError, match="label maps"):
        Run(plan, source_of(plan, CPU), CPU)
    odd = tiny_plan(synthesis={"shape": [30, 32]})
    with pytest.raises(InputError, match="multiples of 8"):
        Run(odd, source_of(odd, CPU), CPU)


def _real_plan(method: str, data: dict[str, Any], **tables: Any) -> TrainingPlan:
    from Training.plan import plan_of

    schedule = {"steps": 3, "batch": 2, "validate_every": 3, "log_every": 1, "checkpoint_every": 3}
    return plan_of({"method": method, "data": data, "schedule": schedule, **tables})


def test_real_images_train_validate_and_export_a_bundle(tmp_path: Path) -> None:
    manifest = write_data(tmp_path / "data", 5)
    plan = _real_plan("voxelmorph-2", {"manifest": str(manifest), "validation": 0.4, "shape": [32, 48]})
    start(plan, tmp_path / "run", "cpu", tensorboard=False, quiet=True)
    checks = [line for line in read_log(tmp_path / "run") if line["kind"] == "validation"]
    assert [line["step"] for line in checks] == [0, 3]
    assert 0 < checks[0]["dice_before"] < 1
    header = export(plan, tmp_path / "run", tmp_path / "toy.safetensors")
    model = load_model(tmp_path / "toy.safetensors")
    assert model.header.method == "voxelmorph-2"
    assert model.header.grid.size == (32, 48)
    assert model.header.training["plan_sha256"] == plan.hash()
    assert header.scores["dice"] == pytest.approx(checks[header.training["steps"] // 3]["dice"])
    with pytest.raises(InputError, match="another plan"):
        export(tiny_plan(), tmp_path / "run", tmp_path / "toy.safetensors")


def test_a_new_run_may_start_from_a_bundle(tmp_path: Path) -> None:
    plan = tiny_plan(steps=2)
    start(plan, tmp_path / "one", "cpu", tensorboard=False, quiet=True)
    export(plan, tmp_path / "one", tmp_path / "one.safetensors", last=True)
    run = Run(plan, source_of(plan, CPU), CPU)
    run.start_from(tmp_path / "one.safetensors")
    exported = load_model(tmp_path / "one.safetensors").network.state_dict()
    for name, value in run.registration.state_dict().items():
        assert torch.equal(value, exported[name])
    other = tiny_plan("voxelmorph-1")
    with pytest.raises(InputError, match="not of the network"):
        Run(other, source_of(other, CPU), CPU).start_from(tmp_path / "one.safetensors")


def test_a_bundle_names_the_runs_that_its_weights_went_through(tmp_path: Path) -> None:
    first, second = tiny_plan(steps=2), tiny_plan(steps=3)
    start(first, tmp_path / "one", "cpu", tensorboard=False, quiet=True)
    export(first, tmp_path / "one", tmp_path / "one.safetensors", last=True)
    for _ in range(2):  # the second time it is read from the checkpoint
        start(second, tmp_path / "two", "cpu", start_from=tmp_path / "one.safetensors", tensorboard=False, quiet=True)
        export(second, tmp_path / "two", tmp_path / "two.safetensors", last=True)
        training = load_model(tmp_path / "two.safetensors").header.training
        assert training["steps"] == 3
        assert [(run["plan_sha256"], run["steps"]) for run in training["before"]] == [(first.hash(), 2)]
    assert "before" not in load_model(tmp_path / "one.safetensors").header.training


def test_an_interrupted_run_keeps_what_it_has_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tiny_plan(steps=5)
    whole = trained(plan, tmp_path / "whole")
    update = Run.update

    def interrupted(run: Run, batch: Any) -> dict[str, float]:
        if run.progress.step == 3:
            raise KeyboardInterrupt
        return update(run, batch)

    monkeypatch.setattr(Run, "update", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trained(plan, tmp_path / "parts")
    monkeypatch.undo()
    assert read_checkpoint(tmp_path / "parts" / files.NAME)["step"] == 3
    assert [line["loss"] for line in trained(plan, tmp_path / "parts")] == [line["loss"] for line in whole]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM for one process")
def test_a_run_that_is_told_to_end_keeps_what_it_has_done(tmp_path: Path) -> None:
    """SIGTERM, as a cluster sends it before it kills: cancelled in one sentence, and nothing half-written stays."""
    path = plan_file(tmp_path, 5000)
    command = [sys.executable, "-m", "Training", "train", str(path), "--output", str(tmp_path / "run")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command, "--device", "cpu", "--quiet"],
        cwd=ROOT,
        env=environment,
        text=True,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    while len(read_log(tmp_path / "run")) < 4 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (130, f"{KEPT}\n")
    assert read_checkpoint(tmp_path / "run" / files.NAME)["step"] >= 1
    assert not list((tmp_path / "run").glob(".partial-*"))


def test_a_run_that_does_not_get_better_ends_early(tmp_path: Path) -> None:
    schedule = {"validate_every": 1, "validation_pairs": 1, "patience": 2}
    plan = tiny_plan(steps=50, schedule=schedule, optimizer={"learning_rate": 1e-30})
    start(plan, tmp_path, "cpu", tensorboard=False, quiet=True)
    assert read_checkpoint(tmp_path / files.NAME)["step"] == 2


def test_a_loss_that_is_not_a_number_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    plan = tiny_plan(steps=3, optimizer={"learning_rate": 1e17})
    with pytest.raises(TrainingFailed, match="not a number"):
        start(plan, tmp_path, "cpu", tensorboard=False, quiet=True)


def test_pictures_and_tensorboard_are_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    plan = tiny_plan(steps=2, schedule={"validate_every": 2, "validation_pairs": 2, "pictures_every": 2})
    start(plan, tmp_path, "cpu", quiet=True)
    assert (tmp_path / "pictures" / "0000002.png").exists()
    assert list((tmp_path / "tensorboard").iterdir())


def test_the_learning_rate_follows_the_schedule() -> None:
    plan = tiny_plan(steps=100, schedule={"warm_up": 10, "decay": "cosine"}, optimizer={"learning_rate": 1e-3})
    run = Run(plan, source_of(plan, CPU), CPU)
    rates = [run.learning_rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) <= 1e-3
    assert rates[99] < 0.03e-3
    halved = tiny_plan(steps=17, optimizer={"halve_after": 10, "epochs": 17, "learning_rate": 1e-3})
    run = Run(halved, source_of(halved, CPU), CPU)
    assert [run.learning_rate(9), run.learning_rate(10)] == [1e-3, 0.5e-3]


@pytest.mark.slow
def test_the_universal_network_overfits_one_pair() -> None:
    """The gate of METHODS 6: one pair of 64^3, Dice above 0.9 within 300 steps.

    Its labels are large: both maps are rounded to whole voxels, which alone would cost small ones more than 0.1.
    """
    shape = (64, 64, 64)
    axes = torch.meshgrid(*[torch.linspace(-1, 1, n) for n in shape], indexing="ij")
    r = torch.stack(axes).norm(dim=0)
    labels = (r < 0.8).int() + ((r < 0.8) & (axes[2] < 0)).int() + 2 * (r < 0.4).int()
    plan = tiny_plan(
        steps=300,
        batch=1,
        synthesis={"shape": list(shape), "families": {"shapes": 1.0}, "lesion": 0.0},
        schedule={"warm_up": 20, "decay": "cosine", "clip": 1.0},
        options={"end_point_share": 0.25},
    )
    run = Run(plan, source_of(plan, CPU), CPU)
    given = replace(plan.synthesis, families={"given": 1.0})  # type: ignore[type-var]
    pair = SyntheticSource(given, 1, CPU, [labels]).batch([0])
    before = score_pair(run.registration, pair, CPU, "float32")
    assert before["dice"] < 0.8
    while run.progress.step < 300:
        run.update(pair)
        if run.progress.step % 25 == 0:
            scores = score_pair(run.registration, pair, CPU, "float32")
            print(run.progress.step, scores)
            if scores["dice"] > 0.9 and scores["end_point"] < 0.5:
                break
    assert scores["dice"] > 0.9
    assert scores["end_point"] < 0.15 * before["end_point"]
    assert scores["folds"] < 0.1


def test_a_run_of_no_steps_or_in_no_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["train", "universal-smoke", "--output", str(tmp_path / "run"), "--steps", "0"]) == 2
    assert "at least 1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main(["train", "universal-smoke", "--output", str(tmp_path / "file"), "--device", "cpu"]) == 2
    assert "choose another folder" in capsys.readouterr().err


def test_sar_nets_perceptual_term_takes_our_own_encoder(tmp_path: Path) -> None:
    encoder = fresh_model(find_method("universal"), 2)
    save_bundle(tmp_path / "encoder.safetensors", encoder.network, encoder.header)
    options = {"perceptual": str(tmp_path / "encoder.safetensors")}
    plan = tiny_plan("sar-net", options=options, **small("sar-net"))
    run = Run(plan, source_of(plan, CPU), CPU)
    values = run.update(run.fetch(0))
    assert values["registration/perceptual"] > 0
    with pytest.raises(InputError, match="universal 3-D model"):
        steps_of(plan, 3)
    vgg = VGG16Features()
    write_weights(tmp_path / "vgg.safetensors", dict(vgg.state_dict()), {})
    term = perceptual_term(str(tmp_path / "vgg.safetensors"), 2)
    assert term is not None
    a, b = torch.rand(2, 1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert float(term(a, a)) == 0
    assert float(term(a, b)) > 0


def test_a_run_is_exported_without_saying_its_plan_and_data_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, manifest = tmp_path / "toy.toml", write_data(tmp_path / "data", 4)
    plan.write_text(
        'method = "voxelmorph-1"\n[data]\nmanifest = "elsewhere.json"\nvalidation = 0.5\n[schedule]\nsteps = 9\n',
        encoding="utf-8",
    )
    run, short, long = tmp_path / "run", tmp_path / "short.safetensors", tmp_path / "long.safetensors"
    of_run = ["--data", str(manifest)]
    steps = ["--steps", "1", "--device", "cpu", "--quiet"]
    assert main(["train", str(plan), "--output", str(run), *of_run, *steps]) == 0
    assert main(["export", str(run), str(short), "--last"]) == 0
    assert main(["export", str(plan), str(run), str(long), *of_run, "--last"]) == 0
    assert short.read_bytes() == long.read_bytes()
    capsys.readouterr()
    assert main(["export", str(tmp_path / "data"), str(tmp_path / "none.safetensors")]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert main(["export", str(run), str(short), *of_run]) == 2
    assert "leave --data out" in capsys.readouterr().err
    for target in (manifest, run / "plan.json", run / "checkpoint.pt"):
        before = target.read_bytes()
        assert main(["export", str(run), str(target)]) == 2
        assert "is the input" in capsys.readouterr().err
        assert target.read_bytes() == before


def test_a_run_of_other_steps_than_the_plans_is_exported_by_the_same_plan(tmp_path: Path) -> None:
    plan = tmp_path / "toy.toml"
    plan.write_text(
        'method = "voxelmorph-1"\n[synthesis]\nshape = [32, 32]\nfamilies = { shapes = 1.0 }\n[schedule]\nsteps = 9\n',
        encoding="utf-8",
    )
    run, bundle = tmp_path / "run", tmp_path / "toy.safetensors"
    assert main(["train", str(plan), "--output", str(run), "--steps", "1", "--device", "cpu", "--quiet"]) == 0
    assert main(["export", str(plan), str(run), str(bundle), "--last"]) == 0
    assert load_model(bundle).header.training["steps"] == 1
