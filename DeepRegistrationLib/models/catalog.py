"""The methods themselves, one object each; ``methods`` finds, lists and runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..networks import RegistrationNetwork
from ..networks.deform_gan import DeformGAN
from ..networks.dir_net import DIRNet
from ..networks.dual_branch import DualBranch, MonoBranch
from ..networks.flownet_roi import FlowNetROI
from ..networks.sar_net import SARNet
from ..networks.universal import UniversalNetwork
from ..networks.voxelmorph import VoxelMorph
from . import presets
from .header import NetworkGrid, Normalization
from .presets import Preset

NetworkFactory = Callable[[int], RegistrationNetwork]
"""Number of dimensions -> the network with fresh weights."""
PERCENTILES = Normalization()


@dataclass(frozen=True)
class Variant:
    """One row of a paper's comparison: its network, and what it changes in the values of the preset."""

    name: str
    title: str
    network: NetworkFactory
    loss: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A way to start the registration.

    Attributes:
        name: what the command line and the panel call it.
        title: for people.
        paper: where it comes from.
        purpose: one line: what it is for.
        modality: which images.
        dimensions: of the images it takes.
        fine_tuned_by: the measure of fine-tuning to one pair; see ``predict``. The refinement asks ``Settings``.
        variants: the first is the default. None at all: refinement alone.
        presets: training values, the first is the default.
        grids: where a fresh network works, by number of dimensions; elsewhere on the fixed image's own grid.
        normalization: what a fresh network expects.
        bundle: the file whose weights to use, where the user gave one.
        trained: dimensions of the images for which weights are here, as ``methods.methods`` finds them; those of
            ``dimensions`` where there is no network.
    """

    name: str
    title: str
    paper: str
    purpose: str
    modality: str
    dimensions: tuple[int, ...] = (2, 3)
    fine_tuned_by: str = "auto"
    variants: tuple[Variant, ...] = ()
    presets: tuple[Preset, ...] = ()
    grids: Mapping[int, NetworkGrid] = field(default_factory=dict)
    normalization: Normalization = PERCENTILES
    bundle: Path | None = None
    trained: tuple[int, ...] = ()

    @property
    def network(self) -> NetworkFactory | None:
        """The default variant's network; None for refinement alone."""
        return self.variants[0].network if self.variants else None

    def variant(self, name: str | None = None) -> Variant:
        """The variant of that name, or the first.

        Raises:
            InputError: if there is none.
        """
        for variant in self.variants:
            if name in (None, variant.name):
                return variant
        names = ", ".join(v.name for v in self.variants) or "none"
        raise InputError(f"The method {self.name} has no variant {name}; it has {names}.")

    def preset(self, name: str | None = None) -> Preset:
        """The preset of that name, or the first.

        Raises:
            InputError: if there is none.
        """
        for preset in self.presets:
            if name in (None, preset.name):
                return preset
        names = ", ".join(p.name for p in self.presets) or "none"
        raise InputError(f"The method {self.name} has no preset {name}; it has {names}.")


VOXELMORPH_PAPER = "Balakrishnan et al., An Unsupervised Learning Model for Deformable Medical Image Registration, 2018"

NONE = Method(
    "none",
    "Refinement alone",
    paper="",
    purpose="no network: the field is found on this pair from the start",
    modality="any",
)
VOXELMORPH_1 = Method(
    "voxelmorph-1",
    "VoxelMorph-1",
    VOXELMORPH_PAPER,
    "one modality, fast",
    "one modality, aligned as a whole",
    fine_tuned_by="lncc",
    variants=(
        Variant("lncc", "VoxelMorph-1", lambda ndim: VoxelMorph(ndim, 1)),
        Variant("mse", "VoxelMorph-1 (MSE)", lambda ndim: VoxelMorph(ndim, 1), {"similarity": "mse", "weight": 0.01}),
    ),
    presets=presets.VOXELMORPH,
)
VOXELMORPH_2 = Method(
    "voxelmorph-2",
    "VoxelMorph-2",
    VOXELMORPH_PAPER,
    "one modality, a little better and slower than VoxelMorph-1",
    "one modality, aligned as a whole",
    fine_tuned_by="lncc",
    variants=(
        Variant("lncc", "VoxelMorph-2", lambda ndim: VoxelMorph(ndim, 2)),
        Variant("mse", "VoxelMorph-2 (MSE)", lambda ndim: VoxelMorph(ndim, 2), {"similarity": "mse", "weight": 0.01}),
    ),
    presets=presets.VOXELMORPH,
)
DUAL_BRANCH = Method(
    "dual-branch",
    "Gradient-guided dual branch",
    "Unsupervised multimodal registration with auxiliary gradient guidance, arXiv 2011.06216",
    "CT with MR and other pairs of modalities whose boundaries agree",
    "two modalities, aligned as a whole",
    fine_tuned_by="mind",
    variants=(
        Variant("gated", "Dual branch, gated fusion", lambda ndim: DualBranch(ndim, "gated")),
        Variant("average", "Dual branch, average", lambda ndim: DualBranch(ndim, "average")),
        Variant("vm", "VM (MIND)", lambda ndim: MonoBranch(ndim, gradients=False)),
        Variant("vm-concat", "VM (concat)", lambda ndim: MonoBranch(ndim, gradients=True)),
    ),
    presets=presets.DUAL_BRANCH,
)
DEFORM_GAN = Method(
    "deform-gan",
    "Deform-GAN",
    "Deform-GAN: local gradient loss and adversarial translation for large deformations between modalities",
    "two sequences or modalities that lie far from each other",
    "two modalities",
    fine_tuned_by="gradient",
    variants=(
        Variant("deform-gan-2", "Deform-GAN-2", DeformGAN),
        Variant("deform-gan-1", "Deform-GAN-1", DeformGAN, options={"mu": 0.0}),
        Variant("voxelmorph-lg", "VoxelMorph-LG", lambda ndim: VoxelMorph(ndim, 2), options={"translate": False}),
    ),
    presets=presets.DEFORM_GAN,
    normalization=Normalization(output=(-1.0, 1.0)),
)
SAR_NET = Method(
    "sar-net",
    "SAR-Net",
    "SAR-Net: segmentation-augmented registration by GANs, with transfer learning for a new kind of image",
    "slices with outlined organs; adapts to a new kind of image on the pair itself",
    "one modality",
    fine_tuned_by="lncc",
    variants=(
        Variant("sar-net", "SAR-Net", SARNet),
        Variant("sar-noseg", "SAR-NoSeg", SARNet, options={"segmentation": False}),
        Variant("dir-net", "DIRNet", DIRNet, options={"adversarial": False, "segmentation": False}),
    ),
    presets=presets.SAR_NET,
    # At full resolution 64 feature maps of a volume need gigabytes.
    grids={2: NetworkGrid(None, None, (256, 256)), 3: NetworkGrid(None, None, (64, 64, 64))},
)


def _flownet(roi: bool) -> NetworkFactory:
    # The printed widths are for 2-D; in 3-D they would make 140 million weights.
    return lambda ndim: FlowNetROI(ndim, roi=roi, width=1.0 if ndim == 2 else 0.25)


FLOWNET_ROI = Method(
    "flownet-roi",
    "FlowNet with ROI masks",
    "Shan et al., Unsupervised End-to-end Learning for Deformable Medical Image Registration",
    "slices of one modality, with the region of interest found by a network of its own",
    "one modality",
    fine_tuned_by="lncc",
    variants=(
        Variant("pn", "PN", _flownet(False), {"edge_aware": False}, {"overlap": False}),
        Variant("pe", "PE", _flownet(False), {"edge_aware": True}, {"overlap": False}),
        Variant("pn-mask", "PN w/ mask", _flownet(True), {"edge_aware": False}, {"overlap": False}),
        Variant("pe-mask", "PE w/ mask", _flownet(True), {"edge_aware": True}, {"overlap": False}),
        Variant("pmn-mask", "PMN w/ mask", _flownet(True), {"edge_aware": False}, {"overlap": True}),
        Variant("pme-mask", "PME w/ mask", _flownet(True), {"edge_aware": True}, {"overlap": True}),
        Variant("supervised", "Supervised", _flownet(False), {}, {"supervised": True}),
        Variant("supervised-mask", "Supervised w/ mask", _flownet(True), {}, {"supervised": True}),
    ),
    presets=presets.FLOWNET_ROI,
    grids={2: NetworkGrid(None, None, (256, 256)), 3: NetworkGrid(None, None, (128, 128, 128))},
)
UNIVERSAL = Method(
    "universal",
    "Universal",
    "of this project: matching of MIND features, trained on synthetic images alone",
    "any two images of one anatomy, whatever their contrast",
    "any",
    variants=(Variant("default", "Universal", UniversalNetwork),),
    presets=presets.UNIVERSAL,
    grids={2: NetworkGrid(longest=256), 3: NetworkGrid(longest=224, shortest=112)},
)

ALL = (NONE, UNIVERSAL, VOXELMORPH_1, VOXELMORPH_2, DUAL_BRANCH, DEFORM_GAN, SAR_NET, FLOWNET_ROI)
