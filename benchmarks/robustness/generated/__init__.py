"""Kinds of images that no setting of the engine was chosen on: computed from a seed, the truth is known exactly.

Each kind is a function of a seed that gives a ``Made``: two images, and where each point of the fixed one lies in the
moving one. Nothing in DeepRegistrationLib may be tuned on them.
"""

from __future__ import annotations

from collections.abc import Callable

from .aorta import aorta
from .brain_shift import brain_shift
from .fundus import fundus
from .knee import knee
from .lungs import lungs
from .motion import Made
from .oct import optical
from .pelvis import cone_beam
from .pet import pet_ct

KINDS: dict[str, Callable[[int], Made]] = {
    "generated OCT": optical,
    "generated CT and cone-beam CT": cone_beam,
    "generated PET and CT": pet_ct,
    "generated breath-hold lungs": lungs,
    "generated knee": knee,
    "generated ultrasound and MR": brain_shift,
    "generated retina": fundus,
    "generated aorta": aorta,
}
SEEDS = (2000, 2001, 2002)
