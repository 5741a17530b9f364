"""What a pair costs beside its registration: pairs that do nothing, through the same code.

python -m Testing.Lib.cohorts.overhead 1000 4000
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

from DeepRegistrationLib.cohorts.lists import read_jobs
from DeepRegistrationLib.cohorts.run import Resources, run_batch

NOTHING = """
import json, sys
for line in sys.stdin:
    print(json.dumps({"status": "done", "report": {"verdict": "good", "similarity_after": 0.5}}), flush=True)
"""


def measure(count: int, workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "l.json"
        source.write_text(
            json.dumps([{"fixed": f"{k}.nii", "moving": "m.nii", "name": f"p{k}"} for k in range(count)]),
            encoding="utf-8",
        )
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        jobs = read_jobs(source)
        read = time.perf_counter() - start
        resources = Resources(workers, command=(sys.executable, "-c", NOTHING))
        run_batch(jobs, Path(folder) / "out", resources=resources)
        spent, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"{type(resources.engine()).__name__}, {count} pairs, {workers} workers: list read in {read:.2f} s; "
            f"{spent / count * 1e3:.2f} ms a pair, {cpu / count * 1e3:.2f} ms of the processor; "
            f"largest memory {after.ru_maxrss / 1024:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    for text in sys.argv[1:]:
        measure(int(text), 2)
