"""Other runs on the same folder: those of other settings would mix their pairs with ours, and nobody could tell which.

Runs of one recipe (settings, weights, version) share the work. One of another recipe that works there now is refused;
results that an earlier one left are made again, and that is said. Commands that share no work are alone in a folder.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files.writing import shown
from .claims import Claim
from .finished import DONE, Task, read_json, write_json

LOOKED_AT = 100
"""Pairs, the first ones, whose results are looked at before the work; all of many thousands would take minutes."""
_WHAT = "run.json"


class Presence:
    """That a run works on a folder now: a place of its own in ``folder``, claimed until the run ends, however it ends.

    Where a file system has no locks nobody is seen there.
    """

    def __init__(self, folder: Path, run: str, recipe: Mapping[str, Any], list_key: str) -> None:
        self._own = folder / run
        self._recipe, self._list_key = recipe, list_key
        self._own.mkdir(parents=True)
        self._claim = Claim(self._own)
        while not self._claim.take():  # for a moment another run has it, which looks whether we are there
            time.sleep(0.01)
        write_json(self._own / _WHAT, {"recipe": recipe, "list": list_key})

    def check_alone(self, lists: Path, names: Iterable[str]) -> None:
        """Raises InputError if a run of another recipe works now on one of the pairs ``names``.

        Args:
            lists: where the pairs of each list are, by its key.
        """
        for place in self._own.parent.iterdir():
            found = read_json(place / _WHAT)
            other = other_than(found.get("recipe", {}), self._recipe) if found else ""
            if not other or place == self._own:
                continue
            shared = found["list"] == self._list_key or not {*names}.isdisjoint(
                read_json(lists / f"{found['list']}.json").get("names", [])
            )
            if shared and _is_alive(place):
                raise InputError(
                    f"Another run of batch works in {shown(self._own.parents[2])} now with other settings ({other}), "
                    "and their results would be mixed; wait until it is done, or give another folder."
                )

    def leave(self) -> None:
        """Not here any more."""
        self._claim.release()
        shutil.rmtree(self._own, ignore_errors=True)


@contextmanager
def alone_in(folder: Path, command: str) -> Iterator[None]:
    """The folder, made where it is not there, is ours as long as the block runs, for a command that shares no work.

    A folder that was made and holds nothing in the end does not stay.

    Raises:
        InputError: if such a run works there now, or the folder cannot be written.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    claim = Claim(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = claim.take()
    except OSError as error:
        raise InputError(
            f"The folder {shown(folder)} cannot be written: {error.strerror}; choose another one."
        ) from error
    if not taken:
        raise InputError(
            f"Another run works in {shown(folder)} now, and their results would be mixed; wait until it is done, or "
            f"give {command} another folder."
        )
    try:
        yield
    finally:
        claim.release()
        with suppress(OSError):
            for place in made:
                place.rmdir()


def _is_alive(place: Path) -> bool:
    """Whether its claim is held; more than once, as others may look at the same moment."""
    for _ in range(3):
        claim = Claim(place)
        try:
            if claim.take():
                (place / _WHAT).unlink(missing_ok=True)
                claim.release()
                return False
        except OSError:  # it just ended, or belongs to somebody else
            return False
        time.sleep(0.1)
    return (place / _WHAT).exists()


def tell_replaced(tasks: Iterable[Task], folder: Path, note: Callable[[str], None] | None) -> None:
    """Give ``note`` a sentence if results of ``tasks`` are there that were made with other settings."""
    if note is None:
        return
    for task in islice(tasks, LOOKED_AT):
        other = other_than(read_json(Path(task.folder) / DONE).get("recipe"), task.recipe())
        if other:
            note(
                f"Results in {shown(folder)} were made with other settings ({other}); they are made again and "
                "replaced. To keep them, stop and give another folder."
            )
            return


def other_than(before: Any, now: Mapping[str, Any]) -> str:
    """In words, what of ``before`` (a recipe of ``Task``, or nothing) is not as it is ``now``."""
    if not isinstance(before, Mapping) or not before:
        return ""
    old, new = before.get("settings") or {}, now["settings"]
    said = [f"{name} {old[name]}, now {new[name]}" for name in new if name in old and old[name] != new[name]]
    if before.get("weights") != now["weights"]:
        said.append("other weights of the models")
    if before.get("version") != now["version"] or {*old} != {*new}:
        said.append(f"version {before.get('version')}, now {now['version']}")
    return "; ".join(said)
