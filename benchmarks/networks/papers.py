"""What each paper compares (rows and columns of its tables) and what it found, to hold our figures against."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Claim:
    """The paper finds the row ``better`` better than ``worse`` by ``metric``; ``text`` in words.

    ``or_equal``: it says that ``better`` is at least as good.
    """

    better: str
    worse: str
    metric: str
    text: str
    or_equal: bool = False


@dataclass(frozen=True)
class Paper:
    """A section of the page: ``columns`` are those of the paper's tables, ``titles`` its rows in its order."""

    title: str
    methods: tuple[str, ...]
    columns: tuple[str, ...]
    titles: dict[str, str] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    about: str = ""

    def rank(self, row: str) -> int:
        return list(self.titles).index(row) if row in self.titles else len(self.titles)


PAPERS = (
    Paper(
        "Universal",
        ("universal",),
        ("dice", "end_point", "folds", "seconds"),
        about="Of this project; any two images of one anatomy. The 3-D model's working grid, how fine the "
        "deformations are that it learned from, how often its heads are applied and when its training ended were "
        "chosen on the four pairs of T1 brains; how large it sees small images (112 voxels) on six of hippocampi.",
    ),
    Paper(
        "VoxelMorph (2018)",
        ("voxelmorph-1", "voxelmorph-2"),
        ("dice", "end_point", "folds", "seconds"),
        {"voxelmorph-1": "VoxelMorph-1", "voxelmorph-2": "VoxelMorph-2"},
        (
            Claim(
                "voxelmorph-2",
                "voxelmorph-1",
                "dice",
                "VoxelMorph-2 is as good as VoxelMorph-1 or a little better",
                True,
            ),
        ),
        "The working grid (112) was chosen on the brain pair below.",
    ),
    Paper(
        "Gradient-guided dual branch",
        ("dual-branch",),
        ("dice", "asd", "end_point", "folds", "seconds"),
        {"vm": "VM (MIND)", "vm-concat": "VM (concat)", "average": "Average", "gated": "Gated fusion"},
        (
            Claim("gated", "average", "dice", "gated fusion is better than the average of both fields"),
            Claim("average", "vm", "dice", "two branches are better than one"),
            Claim("gated", "vm", "dice", "gated fusion is better than one branch"),
        ),
        "In 2-D; contrasts ordered like those of T1 and T2; no CT, no window.",
    ),
    Paper(
        "Deform-GAN",
        ("deform-gan",),
        ("rmse", "dice", "end_point", "folds", "seconds"),
        {"voxelmorph-lg": "VoxelMorph-LG", "deform-gan-1": "Deform-GAN-1", "deform-gan-2": "Deform-GAN-2"},
        (
            Claim("deform-gan-2", "deform-gan-1", "rmse", "Deform-GAN-2 is better than Deform-GAN-1"),
            Claim("deform-gan-1", "voxelmorph-lg", "rmse", "Deform-GAN-1 is better than VoxelMorph-LG"),
            Claim("deform-gan-2", "voxelmorph-lg", "rmse", "Deform-GAN-2 is better than VoxelMorph-LG"),
        ),
        "RMSE: of the floating image warped by the predicted against the true field. Dice of all tissues: the "
        "generated lesions have no label. In 2-D and smaller than the paper's images, with smaller motions; "
        "VoxelMorph-LG without the paper's diffeomorphic integration; contrasts ordered like those of T1 and T2.",
    ),
    Paper(
        "SAR-Net",
        ("sar-net",),
        ("dice", "hd95", "mad", "end_point", "folds", "seconds"),
        {"sar-noseg": "SAR-NoSeg", "sar-net": "SAR-Net", "dir-net": "DIRNet"},
        (Claim("sar-net", "sar-noseg", "dice", "the segmentation term helps"),),
        "Scores of the lungs, as in the paper. GC-SAR, a row of the paper's table, is not defined there. Reduced: 8 "
        "blocks of 32 filters (the paper: 16 of 64). On X-rays, 'fine-tuned alone' moves the last convolution by the "
        "paper's rule, but by LNCC and smoothness, without the paper's adversary, cycle and masks; a network trained "
        "on X-rays is not shipped, for they are not ours.",
    ),
    Paper(
        "FlowNet with ROI masks",
        ("flownet-roi",),
        ("jaccard", "end_point", "dice", "folds", "seconds"),
        {"pe": "PE", "pme-mask": "PME w/ mask"},
        (Claim("pme-mask", "pe", "jaccard", "mask and overlap loss together help"),),
        "Jaccard and Dice of the lungs; the error of the field stands for the landmark distance. Reduced to an eighth "
        "of the printed width. The two rows differ in the loss of overlap, too, and that learned from label maps "
        "(the paper: from the masks found): the gain is not the mask's alone. The working grid (256) and its plan's "
        "motions and contrasts were chosen with a look at six of the X-rays below.",
    ),
)
