"""Seconds and memory of a network alone, in a process of its own.

    python -m benchmarks.networks.cost voxelmorph-2 --shape 160 192 224 --precision bfloat16 --threads 2

MODEL is a bundle (through its own working grid, as ``register`` runs it) or the name of a method: its network with
fresh weights, directly on the whole shape. Prints one JSON object: best and all wall seconds, CPU seconds of the best,
peak memory of the process. On a machine that does other work, too, the CPU seconds are the better measure.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..memory import peak_gb
from ..worker import environment

SHAPES = {2: (512, 512), 3: (160, 192, 224)}


def cost(model: str, ndim: int, precision: str = "auto", threads: int = 2, repeats: int = 8) -> dict[str, Any]:
    """Measure in a new process; {"error": sentence} if it failed."""
    command = [sys.executable, "-m", "benchmarks.networks.cost", model, "--shape", *map(str, SHAPES[ndim])]
    command += ["--precision", precision, "--threads", str(threads), "--repeats", str(repeats)]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment(threads), encoding="utf-8"
    )
    if run.returncode:
        return {"error": (run.stderr.strip().splitlines() or ["no message"])[-1][:200]}
    result: dict[str, Any] = json.loads(run.stdout.strip().splitlines()[-1])
    return result


def measure(model: str, shape: tuple[int, ...], precision: str, threads: int, repeats: int) -> dict[str, Any]:
    """Run the network ``repeats`` times on a noise image after one small run that loads everything."""
    import numpy as np
    import torch

    from DeepRegistrationLib.geometry.image import Grid, Image
    from DeepRegistrationLib.models.bundle import load_model
    from DeepRegistrationLib.models.methods import find_method, fresh_model
    from DeepRegistrationLib.models.predict import bfloat16_is_good, predict, run_network

    torch.set_num_threads(threads)
    random = np.random.default_rng(0)
    if Path(model).suffix == ".safetensors":
        loaded = load_model(model)
        grid = Grid.from_shape(shape)
        pair = [Image(random.random(shape, dtype=np.float32), grid) for _ in range(2)]

        def once() -> None:
            predict(loaded, *pair, precision=precision)
    else:
        network = fresh_model(find_method(model), len(shape)).network
        fixed, moving = (torch.from_numpy(random.random((1, 1, *shape), dtype=np.float32)) for _ in range(2))
        small = torch.zeros(1, 1, *[32] * len(shape))
        run_network(network, small, small, torch.device("cpu"), precision)

        def once() -> None:
            run_network(network, fixed, moving, torch.device("cpu"), precision)

    bfloat16_is_good()
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        once()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return {
        "shape": list(shape),
        "precision": precision,
        "threads": threads,
        "wall": min(walls),
        "walls": [round(w, 2) for w in walls],
        "cpu": min(cpus),
        "peak_gb": peak_gb(),
        "cores_bfloat16": bfloat16_is_good(),
    }


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks.cost", description="Cost of a network alone.")
    parser.add_argument("model", help="a bundle, or the name of a method (fresh weights)")
    parser.add_argument("--shape", type=int, nargs="+", default=SHAPES[3])
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=8)
    o = parser.parse_args()
    print(json.dumps(measure(o.model, tuple(o.shape), o.precision, o.threads, o.repeats)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
