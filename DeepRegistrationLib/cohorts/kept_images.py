"""Images as they were read, kept while they are small: in a cohort one image is in many pairs."""

from __future__ import annotations

from collections import OrderedDict

from ..geometry.image import Image, read_image
from .finished import Signature

KEPT_BYTES = 64_000_000
"""Of all that one worker keeps. An image as large as half of that takes far longer to register than to read."""


class KeptImages:
    """Those that were asked for last, each as long as its file stays the same; nobody can write into them."""

    def __init__(self, most: int = KEPT_BYTES) -> None:
        self._most, self._held = most, 0
        self._images: OrderedDict[tuple[str, str], tuple[Signature, Image]] = OrderedDict()

    def of(self, path: str, name: str, signature: Signature) -> Image:
        """The image of a file (or folder) that had ``signature`` a moment ago, read if it is not kept.

        Raises:
            InputError: as ``read_image``.
        """
        key = path, name  # the name is part of what an image warns of
        known = self._images.pop(key, None)
        if known is not None:
            self._held -= known[1].array.nbytes
        image = known[1] if known is not None and known[0] == signature else read_image(path, name)
        if 2 * image.array.nbytes <= self._most:
            image.array.flags.writeable = False
            self._images[key] = signature, image
            self._held += image.array.nbytes
        while self._held > self._most:
            _, (_, oldest) = self._images.popitem(last=False)
            self._held -= oldest.array.nbytes
        return image
