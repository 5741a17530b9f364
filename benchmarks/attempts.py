"""What other settings of the engine give: ``python -m benchmarks attempts pairs.json`` writes docs/attempts.md.

Every variation changes one thing of the levels that the engine's ``plan`` makes (refinement/schedule.py), and no other.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk

from .pairs import Pair, read_pairs
from .tables import processor, read_results
from .worker import prepare, score

WITHOUT_GAIN = (
    "A head generated with 40 mm of elastic motion (T1 and T2, 2 mm voxels, 6.1 voxels after the affine stage): "
    "3.5 voxels as shipped, 3.4 from the far-seeing stage's field, 3.6 to 3.7 with 3 or 6 times the smoothness. "
    "On the coarse level alone: 5.9 as shipped, 4.2 to 4.4 from the far-seeing stage, 3.8 with that stage and the"
    " steps twice over; 90 steps for 30, or stiffer ones first, end no closer. Begun at the truth, these levels lead "
    "away from it, by 3.9 voxels of 2 mm at half resolution, and farther with less smoothness: it is what they see, "
    "not how they move. A network's field refined on the finest levels alone stays (refinement/rival.py).",
    "A network's field refined otherwise for that: four such heads at half resolution, 3.8 to 5.9 mm by the network "
    "alone, end at 7.8 to 11.9 mm with MIND and then the translated contrast on all levels or without the coarse ones, "
    "at 5.7 to 8.9 with MIND on the last alone, at 4.7 to 6.8 with the translated contrast from half of that "
    "resolution on, and at 4.1 to 6.4 as shipped.",
    "The same refined on the last level alone, 12 steps: from the network's second look three such heads end at 5.5, "
    "4.0 and 3.6 mm, as near as with the level before it (5.3, 4.0 and 3.7), but what the images tell then rises with "
    "the detail, and no longer tells which look lies better.",
    "Mirrored images for the network's second and third look, so that its own bias does not add up: six such heads "
    "0 to 0.07 mm nearer. The mean of four looks, one mirrored along each axis, each time: 5.2 mm for 5.9 and 3.4 for "
    "3.6, for four times the network's time.",
    "The network's further looks at what was refined in between, not at its own field: 5.4 mm for 5.3, 3.2 for 3.2.",
    "The whole engine once more on what it has moved: eight radiographs and slices with elastic motion of a fifth of "
    "the image end 3 to 11 % nearer, with sliding motion six of eight up to 9 % farther away, and one image tells "
    "more of the other all the same; it takes as long again.",
    "To ask no network in 2-D where the coarse levels are alike: of 82 chests two rivals told more, and were no "
    "better, but a section and a hand that slide, alike all the same, would end at 4.2 px for 1.8 and 8.0 for 0.9.",
    "A rival in 2-D that must tell 0.6 % more: four slices in noise of a tenth of their range stay 0.1 to 0.4 px "
    "nearer, but a section that slides ends at 4.2 px for 1.8, and a slice in another contrast at 2.5 for 1.6.",
    "That rival in place of the affine alignment wherever one image then tells more of the other: of 31 such answers "
    "ten gained by 0.01 Dice or 0.3 mm or more and 13 lost, nine of these stained sections and slices, by up to 10 px.",
    "The search for points again (quality/error_estimate.py) as the judge between the field and the affine "
    "alignment: it compares self-similarity, which a contrast that is not monotone changes as well; of 20 harmed "
    "results of such pairs it saw 3.",
    "Mutual information alone as that judge: what LNCC tears apart in a brain of such a contrast gains 0.41 of "
    "it, the right field 0.22.",
    "The best local correlation in a common contrast for choosing between measures: LNCC, which makes images look"
    " alike where nothing else does, wins wrongly (7 of 35 harmed, 0 to 2 where the worth of the coarse levels "
    "chooses).",
    "Refining the universal network's field by LNCC in the other's contrast or by MIND where the contrast is not "
    "monotone: two brains at half resolution, Dice 0.52 and 0.64 after the affine stage, 0.68 and 0.69 by the "
    "network, then 0.27 and 0.41 (translated) or 0.28 and 0.31 (MIND); information: 0.62 and 0.72, which the "
    "guard tries.",
    "The affine stage on images leveled by half (less the mean around, over the deviation around): sections under"
    " uneven light end 10 and 16 px away, not 531 and 49, chests gain 0.001 to 0.03 Dice and livers 0.1 mm; but "
    "of pairs whose contrast is not monotone a brain falls from 0.565 to 0.518, a hippocampus from 0.729 to "
    "0.687, and a hand is led from 4.9 to 15 px. At the end, refined, kinds are as before but for hippocampi "
    "(-0.006) and the hand. Only where much varies slowly (from a quarter or a half of the variance on): the hand"
    " is lost all the same. It would have to be tried where the verdict is bad, and judged.",
    "Asking to check from 1.6 coarse voxels of estimated error on, not 4.5: of 98 pairs 4 more are asked, 2 of "
    "them wrong, but so are the slices of CT and MR, whose points are found again 1.5 to 3.8 off where they lie "
    "right. Since the guard asks to check most of those itself, it is 2.8: none of 28 more, and three of five "
    "wrong pairs that were good.",
    "Asking to check by how far there and back miss each other: of five wrong pairs that were good (of 133 of two "
    "organs, or of two cuts) four missed by 1.6 to 3.3 coarse voxels and one by 0.7, right slices of CT and MR by "
    "0.4 to 1.6. By the estimated error times the doubt: 53 to 102 against 26 to 79. By how far the nearest other "
    "hypothesis leads from the answer, as shipped (`APART_CHECK`): 1.5 and 2.2 to 4.6 against 0.2 to 1.8.",
    "More steps at full resolution on small images: 12 hippocampi, mean Dice 0.8129 with 60, 0.8126 with 40 as "
    "shipped, 0.8122 with 30 or with 40 steps of 1.3 voxels, 0.8100 with 30 of 1.6; single pairs change by 0.005 "
    "to 0.012.",
    "Sums in windows by doubling and adding, slab by slab, for the filters of LNCC: 57 ms a channel of "
    "208x180x160 voxels on one thread as by products of banded matrices, and twice as long on 104x90x80.",
    "The affine stage's look-up by interpolation in 3-D: 292 ns a point for 352 of the weighted sums of rows; as "
    "one tall image, which small images take, 127.",
    "In the search for points again, the products of windows and points the other way round or arm by arm: 1.2 "
    "and 1.7 times as long.",
    "One product for the last two axes of a separable filter, with the Kronecker product of their bands: on "
    "20x26x20 voxels 0.53 ms for the 0.18 of three products.",
    "Coarse levels that begin otherwise than 3, 1.7 and 1 times as stiff: three chests 0.951 with 1 all along, "
    "0.950 as shipped, 0.939 with 2, 1.4 and 1, 0.949 with 6, 3, 1.5 and 1; four with known motion 4.02, 1.75 and"
    " 2.23 mm. Stiff between contrasts as well: a CT and MR of one head end at 9.9 mm of estimated error, for 7.9"
    " as shipped and 8.8 of the affine alignment.",
    "Asking the other measures wherever LNCC's coarse field is worth less than 0.06, not 0: a lung ends at 1.45 "
    "mm, not 1.12, and a heart at 0.780 Dice, not 0.795 (a noisy heart gains, 0.689 to 0.724, a liver under a "
    "bias field 1.74 to 1.55 mm). Below 0, of 14 pairs that changed seven gained much (7.0 to 1.8 mm, 26 to 8, "
    "2.7 to 2.0) and three lost a little (1.90 to 2.12 mm, 0.86 to 0.98, 0.375 to 0.371 Dice). The same for what "
    "was made for two contrasts: a head with a tumor, T1 and T2, 1.68 to 1.74 and 1.31 to 1.45 mm.",
    "More smoothness in noise: three brains at half resolution with noise of 8 % of their range, Dice 0.768, "
    "0.738 and 0.749 as shipped, 0.749, 0.732 and 0.732 with twice the smoothness, 0.701, 0.708 and 0.711 with "
    "four times.",
    "The worth of the end's field on the coarse level as what tells a field that follows noise: of a small noisy "
    "body it is -0.001 to -0.013, from 0.001 to 0.01 before full resolution, but of a heart that gains 0.06 Dice "
    "0.008.",
    "LNCC with four times the smoothness, beside or in place of stiff mutual information, where nothing else is "
    "confirmed: two pairs of stained sections end at 8.1 and 3.6 px (mutual information 6.7 and 3.7, the affine "
    "stage 7.4 and 5.2), but one with thick slices goes from 7.2 to 8.9 px.",
    "More smoothness for all: with 1.5 times of it livers gain 0.03 mm inside and 0.16 outside, three skulls go "
    "from 0.263 to 0.253 mm and a hand from 3.4 to 2.4 px, but seven hearts fall from 0.826 to 0.819 Dice and a "
    "prostate from 0.796 to 0.782. The estimated error does not tell which.",
    "Volumes whose coarse levels begin 4, 3, 2 and 1 times as stiff, as those of 2-D images do (a hand 3.38 to 2.15 "
    "px, six chests -0.0005 Dice, six slices +0.0006; of 109 cases of the robustness draw 13 better by a twentieth, "
    "4 worse): ten hippocampi lose 0.002 Dice, two livers gain 2 % outside.",
    "A miss there and back of less than 0.5 to 0.9 coarse voxels as no sign that a counterpart is missing, and 0.04 as "
    "the least unlikeness that is usual: five hearts gain 0.024 Dice, a head with a tumor 0.02 mm, but at half the "
    "resolution hearts lose 0.02 and a lung of which a part is missing ends at 13 mm, not 3.4. With the miss alone in "
    "units of the image's size that lung is as before, and the hearts still lose.",
    "Halfway between the coarse levels' two ways in place of the way there: six hearts +0.001 Dice, a head with a "
    "tumor 1.44 to 1.47 and 1.68 to 1.73 mm, a lung of which a part is missing 3.4 to 3.0 mm; begun again from there "
    "both ways, to tell by the miss of that what has no counterpart: hearts +0.016, the head 1.44 to 1.73 mm.",
    "Windows of LNCC larger by two voxels on the coarse levels: seven hearts +0.002, eight hippocampi +0.002 Dice, a "
    "liver 0.04 mm nearer inside and 0.11 farther outside. At full resolution: hippocampi -0.006.",
    "VoxelMorph-2 of the box continued for 2000 steps of 80 x 80 x 80 with finer motions as well (spacing down to a "
    "sixteenth, learning rate 1.5e-3, two hours of a core): held-out generated pairs 0.488 to 0.532 Dice, four pairs "
    "of T1 brains at half resolution, network alone, 0.708 to 0.688.",
    "The dual branch in 3-D, network alone: two pairs of brains both ways at half resolution, and a head with a "
    "tumor in all four pairs of T1 and T2 (before: Dice 0.573 and 2.33 mm). From scratch by the loss of the "
    "paper, 2000 steps of 48 x 48 x 48: two brains of two contrasts 0.512 to 0.55, the head 2.2 mm in one "
    "contrast and 3.0 to 3.7 in two. As `box-dual-branch-gated-3d` says now (it begins as our VoxelMorph-2 and "
    "learns from the known answer), 1200 steps in 7 minutes of processor time: brains of two contrasts 0.637, of "
    "one 0.655, the head 2.5 mm in one contrast, 2.5 and 2.9 in two (working grid 128; on 64 brains lose 0.02 to "
    "0.03). The 500 steps after these, in which the loss of the paper joins, change single brains by 0.007 at "
    "most and the head by 0.1 mm. From there, 200 steps of 64 x 64 x 64 with more motion: two brains 0.590 and "
    "0.715 to 0.598 and 0.705; or 975 of 1600 steps of 48 x 48 x 48 with more motion, on two sequences ordered as "
    "T1 and T2: brains 0.634 and 0.664, the head 2.5 and 2.6, 2.2 and 3.8 mm. From the same, 5000 steps of "
    "64 x 64 x 64 in contrasts drawn anew, the loss of the paper for the last 250 (two hours of a core): brains 0.640 "
    "after 2350 and 0.615 at the end, of one contrast 0.654 and 0.638, the head 1.9 in one contrast, 2.5 and 3.0 in "
    "two, while the held-out generated pairs went on rising from 0.46 to 0.48. Not shipped.",
    "What tells a field that is worse than an affine alignment which is already right to 1 or 2 mm (a brain's "
    "PET, a distorted EPI, stacks of thick slices in two directions, all with T1 of the same head: 0.9 to 2.3, "
    '1.4 to 1.9 and 2.1 to 2.6 mm, all "good"): how far other measures lead from it, relative to the affine '
    "alignment, 0.7 to 0.9 there, and 0.6 to 1.6 where the field is right (a cavity, a CT with a table); the "
    "estimated errors' ratio, 0.74 to 0.83, elsewhere 0.3 to 0.9; a worth above the affine's by a margin, as "
    "right livers and heads have 0.001 to 0.02 too; the sharper image blurred to the other's resolution: the PET "
    "2.3 to 2.4 and 3.1 mm, the slices 2.6 to 2.9 and 3.7.",
    "PyTorch's inference mode in place of no_grad for the steps of the refinement: on 16x16x16 voxels a filter takes "
    "88 us and then 89, a look at an image 88 and 86, a difference 21 and 22. To cut the memory once a level, as "
    "shipped: 28 for the filter.",
    "The sharper image blurred along every axis where the other one is soft all over (2 voxels, half resolution): "
    "where nothing moved the field shrinks from 1.3 to 7.4 mm to 0 to 2.5, a hand comes from 7.8 to 3.8 px, a lung "
    "from 3.4 and 3.6 to 2.9 and 2.4 mm; but a brain loses 0.058 Dice, slices of CT and MR 0.04, a tumor goes from 3.8 "
    "to 5.8 mm, one head in T1 and T2 from 2.1 to 3.9. Without the finest level about the same. So it is done along "
    "axes that lack more than the others.",
    "Every second window of LNCC otherwise than shipped: with edges that fade, so that all voxels count alike, four "
    "brains fall from 0.8072 to 0.8064 Dice (sharp edges: 0.8070). On coarse levels, too, a head's registration takes "
    "a fourteenth less; a head with a tumor 1.46 to 1.42 mm, seven hearts 0.826 to 0.829 Dice, but brains 0.8072 to "
    "0.8063, ten hippocampi 0.7968 to 0.7947, ten slices 0.445 to 0.441 and a hand 2.3 to 3.2 px.",
    "The last level's steps on a field of half the resolution: eight brains, Dice 0.8072 and 0.7776 to 0.8050 and "
    "0.7761; with less smoothness 0.8053 and 0.7761; with six steps for four it is as good, and as slow.",
    "What error to expect (quality/expected_error.py) as a reason to check, above 1.2 coarse voxels: of 229 good "
    "results with a known field it asks about 13, all of them more than a coarse voxel off; but by a relation "
    "that has not seen their kind about 5, and of 123 good results with labels about 23 that are right "
    "(hippocampi, chests, a prostate).",
    "Whether the field of mutual information and a network's point the same way (cosine over the anatomy) as what "
    "confirms either, in remapped contrast: brains 0.45 to 0.74 where tissue has to move and 0.09 to 0.23 where "
    "it hardly has, hippocampi 0.14 to 0.42 and -0.14 to 0.09, chests 0.07 to 0.62 and 0.32 to 0.72, all rightly; "
    "but hearts about 0 both ways, slices 0.3 to 0.6 both ways. In volumes the worth of the network's field alone "
    "tells better (refinement/guard.py).",
    "Stiffer coarse levels in one contrast (force and field twice as far from a quarter of the resolution on): three "
    "brains -0.005 to +0.001 Dice, seven hearts 0.826 to 0.824, seven hippocampi 0.825 to 0.826 (one more goes from "
    "0.643 to 0.608 by a rival), three of eight chests -0.02 to -0.05. All levels but the last 2.5 times as stiff: two "
    "skulls 0.184 to 0.177 and 0.276 to 0.257 mm, four livers 0.05 mm nearer inside and 0.10 farther outside, a hand "
    "2.17 to 1.88 px, a retina 0.7715 to 0.7748; but a lung 1.12 to 1.18 mm, hearts 0.826 to 0.812 at twice the "
    "stiffness, and chests bent by a tenth of their size end up to four times as far off. What has landmarks gains, "
    "what has label maps loses; nothing tells which it is.",
    "The same as a rival hypothesis in 2-D, where it is worth more and LNCC's own field is worth less than 0.1: of 55 "
    "chests and slices three gain 0.004 to 0.012 Dice, none loses; two generated retinas end at 0.95 and 1.0 px for "
    "3.0 and 1.1 at half resolution; layers of an eye are doubted before and not touched. It asks for the way back "
    "and for both ways again on the coarse levels.",
    "Scale and shear held back 2.5 times as much in the affine stage: one of three PET with CT comes from 11.1 to "
    "7.5 mm (the best affine fit is at 6.0), hands gain 4 %, chests and hippocampi up to 0.004 Dice, but livers of "
    "which half is seen lose 0 to 10 % and a hippocampus 0.01 to 0.02. Only proportions held back more, not size: "
    "10.8 mm.",
    "universal-2d as the start in 2-D wherever no network is named, as its gain on chests (0.903 to 0.918), slices "
    "and T1 with T2 asks for: a start takes the guard from the pair, so that 24 cases of stained sections end at "
    "13.6 px for 11.0, slices of remapped contrast at 0.13 to 0.28 Dice for 0.38 to 0.40, and of 132 cases 36 are "
    "harmed, 25 of them good, for 4 and 2. Its worth is measured on stained sections as well, and there it harms.",
    "Mutual information's field wherever the affine alignment would be the answer: of 25 such volumes 12 gain (hearts "
    "0.05 to 0.21 Dice, heads with a tumor in noise 0.5 to 0.7 mm, a liver 0.4), but a head that lies right moves by "
    "0.8 to 1.1 mm however it is changed, a lung goes from 3.2 to 3.7 and a generated head from 1.2 to 1.7. What tells "
    "most of them apart is its gain over its miss there and back with the way that another measure leads "
    "(refinement/guard.py); the noisy heads are not told from the others.",
    "Leveled contents in place of plain ones in the affine stage of 2-D images: chests of remapped contrast end at "
    "0.42 to 0.85 Dice; as a rival where the detail does not correlate they are right (affine/align.py). More "
    "candidates, or more points, in its exhaustive search: a right answer of other proportions is not reached from "
    "either, twelve stretches do.",
)
"""What was tried for the harm guard, for large motion and for speed, measured by hand."""
COARSE, FULL, ALL = "coarse", "full resolution", "all levels"
VARIATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "as shipped": (ALL, {}),
    "all is trusted": (COARSE, {"both_ways": False}),
    "no steps": (FULL, {"iterations": 0}),
    "the longest displacement is a step": (FULL, {"quantile_step": 0.0}),
    "one voxel in a thousand beyond half a step": (FULL, {"quantile_step": 0.5}),
    "one voxel in a thousand beyond a whole step": (FULL, {"quantile_step": 1.0}),
    "30 composed steps of a voxel, force smoothed by 1.5": (
        FULL,
        {"composed": True, "step": 1.0, "iterations": 30, "force_sigma": 1.5},
    ),
    "composed steps": (FULL, {"composed": True}),
    "added steps": (COARSE, {"composed": False}),
    "no stiffer first": (COARSE, {"force_times": (1.0,)}),
    "steps of a voxel": (FULL, {"step": 1.0}),
    "steps of two voxels": (COARSE, {"step": 2.0}),
    "steps of half a voxel": (COARSE, {"step": 0.5}),
    "24 steps": (FULL, {"iterations": 24}),
    "30 steps": (COARSE, {"iterations": 30}),
    "Gaussian on the field 0.3": (COARSE, {"field_sigma": 0.3}),
    "Gaussian on the field 0.7": (COARSE, {"field_sigma": 0.7}),
    "Gaussian on the field 1.0": (COARSE, {"field_sigma": 1.0}),
    "Gaussian on the field 0.4, on the force 1.2": (FULL, {"field_sigma": 0.4, "force_sigma": 1.2}),
    "Gaussian on the field 0.6": (FULL, {"field_sigma": 0.6}),
    "Gaussian on the force 0.7": (FULL, {"force_sigma": 0.7}),
    "Gaussian on the force 2.0": (FULL, {"force_sigma": 2.0}),
    "window of radius 3": (FULL, {"radius": 3}),
    "window of radius 2": (COARSE, {"radius": 2}),
}
"""Name, the levels it changes, and what it changes there."""


def add_attempts(commands: argparse._SubParsersAction) -> None:
    """``attempts pairs.json``."""
    parser = commands.add_parser("attempts", help="the engine at other settings; goes on where it stopped")
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--output", type=Path, default=Path("docs"), help="folder of attempts.md")
    parser.add_argument("--results", type=Path, default=Path("runs/attempts.jsonl"))
    parser.add_argument("--quality", choices=("fast", "accurate"), default="fast")
    parser.add_argument("--variations", nargs="*", choices=VARIATIONS, help="default: all")
    parser.add_argument("--names", nargs="*", help="of the pairs; default: all of the list")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--note", default="", help="a sentence for the page about how it was run")
    parser.add_argument("--page-only", action="store_true", help="measure nothing")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    import torch

    torch.set_num_threads(options.threads)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    done = {(r["pair"], r["variation"], r["quality"]) for r in read_results(options.results)}
    for pair in [] if options.page_only else read_pairs(options.pairs):
        if options.names and pair.name not in options.names:
            continue
        for name in options.variations or VARIATIONS:
            if (pair.name, name, options.quality) in done:
                continue
            found = measure(pair, *VARIATIONS[name], options.quality)
            record = {"pair": pair.name, "group": pair.group, "variation": name, "quality": options.quality, **found}
            with options.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            print(pair.name, "|", name, "|", {k: round(v, 4) for k, v in found.items()}, flush=True)
    write(read_results(options.results), options.output, options.note)


def measure(pair: Pair, where: str, change: Mapping[str, Any], quality: str) -> dict[str, Any]:
    """The engine on one pair with one change; CPU seconds of the engine alone."""
    import torch

    from DeepRegistrationLib.geometry.image import Grid
    from DeepRegistrationLib.geometry.padding import seen_part
    from DeepRegistrationLib.geometry.transform import Transform
    from DeepRegistrationLib.refinement.engine import refine
    from DeepRegistrationLib.refinement.levels import Level
    from DeepRegistrationLib.refinement.schedule import plan
    from DeepRegistrationLib.settings import Settings

    def planner(shape: Sequence[int], spacing: Sequence[float], settings: Settings, kind: str) -> list[Level]:
        levels = plan(shape, spacing, settings, kind)
        wanted = {ALL: (True, False), FULL: (True,), COARSE: (False,)}[where]
        return [replace(level, **change) if (max(level.factors) == 1) in wanted else level for level in levels]

    fixed, moving, before = prepare(pair)
    grid = Grid.from_sitk(fixed)
    arrays = [_array(image) for image in (fixed, moving)]
    first, second = (torch.from_numpy(array)[None, None] for array in arrays)
    seen = map(seen_part, arrays)
    masks = [None if part is None else torch.from_numpy(part)[None, None] for part in seen]
    used = time.process_time()
    found = refine(
        first,
        second,
        Settings(refine=quality),
        spacing=grid.spacing.tolist(),
        fixed_mask=masks[0],
        moving_mask=masks[1],
        planner=planner,
    )
    used = time.process_time() - used
    transform = Transform.from_field(found.field, grid)
    whole = transform if before is None else sitk.CompositeTransform([before, transform])
    return {"cpu": used, **score(pair, whole, transform, fixed, inverse=False)}


def _array(image: Any) -> np.ndarray:
    return np.ascontiguousarray(sitk.GetArrayFromImage(image), dtype=np.float32)


def write(records: Sequence[Mapping[str, Any]], output: Path, note: str = "") -> None:
    """One table a quality: rows variations, columns groups (Dice or mm), and the seconds."""
    lines = [
        "# What other settings of the engine give",
        "",
        "Written by `python -m benchmarks attempts`. One thing is changed at a time, on the levels named. Means over "
        f"the pairs of a group; CPU seconds are the engine's alone, summed over the pairs. Machine: {processor()}.",
        *(["", note] if note else []),
    ]
    missing = [name for name in VARIATIONS if name not in {r["variation"] for r in records}]
    if missing:
        lines += ["", f"Not measured yet: {'; '.join(missing)}."]
    for quality in ("fast", "accurate"):
        rows = [r for r in records if r["quality"] == quality]
        groups = list(dict.fromkeys(r["group"] for r in rows))
        if not rows:
            continue
        lines += ["", f"## {quality.capitalize()}", ""]
        counts = {g: len({r["pair"] for r in rows if r["group"] == g}) for g in groups}
        lines.append(
            "| on | changed | " + " | ".join(f"{g}, {counts[g]} pairs" for g in groups) + " | folds % | CPU s |"
        )
        lines.append("|---|" + "---|" * (len(groups) + 3))
        for name in VARIATIONS:
            own = [r for r in rows if r["variation"] == name]
            if not own:
                continue
            cells = [_mean([r for r in own if r["group"] == g], counts[g]) for g in groups]
            folds, cpu = max(r["folds"] for r in own), sum(r["cpu"] for r in own)
            where = VARIATIONS[name][0] if VARIATIONS[name][1] else ""
            lines.append(f"| {where} | {name} | " + " | ".join(cells) + f" | {folds:.3g} | {cpu:.0f} |")
    lines += ["", "## Tried without gain", "", *(f"* {text}" for text in WITHOUT_GAIN)]
    output.mkdir(parents=True, exist_ok=True)
    (output / "attempts.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _mean(rows: Sequence[Mapping[str, Any]], wanted: int) -> str:
    if len(rows) < wanted:
        return ""
    if "dice" in rows[0]:
        return f"{np.mean([r['dice'] for r in rows]):.4f}"
    return f"{np.mean([r['tre'] for r in rows]):.2f} mm"
