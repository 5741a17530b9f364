"""A child that registers nothing, by the name of the fixed image: bad fails, crash dies, once dies the first time, ...

It says in the file ``calls`` beside the image what it was asked, with its process and its threads.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from DeepRegistrationLib.cohorts.child import answer_to
from DeepRegistrationLib.cohorts.finished import DONE, REPORT, Hashes, Task, made_output, write_json
from DeepRegistrationLib.errors import NotWritten

hashes = Hashes()


def answer(task: Task) -> dict:
    fixed = Path(task.inputs["fixed"])
    kind = fixed.name.split(".")[0].rstrip("0123456789")
    with (fixed.parent / "calls").open("a", encoding="utf-8") as file:
        file.write(f"{fixed.stem} {os.getpid()} {os.environ['OMP_NUM_THREADS']} {task.alone}\n")
    if kind == "bad":
        return {"status": "failed", "sentence": "The fixed image cannot be read.", "input": True}
    if kind == "full":
        return answer_to(lambda: _cannot_write(task))
    if kind == "crash" or (kind == "once" and not task.alone):
        os.kill(os.getpid(), 9)
    if kind == "slow":
        time.sleep(60)
    if kind == "short":
        time.sleep(0.05)
    if kind == "large":
        held = b"x" * 400_000_000
        time.sleep(0.0 if task.alone else 30)
        del held
    inputs = {what: hashes.of(path) for what, path in task.inputs.items()}
    for path in task.outputs.values():
        Path(path).write_text(inputs["fixed"]["sha256"] + json.dumps(task.settings), encoding="utf-8")
    report = {"verdict": "good", "reasons": ["Fine."], "similarity_after": 0.5, "method": "none"}
    write_json(Path(task.folder) / REPORT, report)
    outputs = {name: made_output(Path(path)) for name, path in task.outputs.items()}
    write_json(Path(task.folder) / DONE, {"recipe": task.recipe(), "inputs": inputs, "outputs": outputs})
    return {"status": "done", "report": report}


def _cannot_write(task: Task) -> dict:
    raise NotWritten(f"Cannot write {task.name}: the disk is full; what was there is unchanged.", full=True)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(Task(**json.loads(line)))), flush=True)
