"""Measure this library and its peers on the same pairs, in one run, on anyone's data.

    python -m benchmarks list DATA pairs.json          # the pairs of the project's data folder, as a pair list
    python -m benchmarks run pairs.json --output docs  # every method on every pair: docs/benchmarks.md and .png
    python -m benchmarks scaling --output docs         # seconds against voxels
    python -m benchmarks speed --output docs           # against an older commit of ourselves and peers: docs/speed.md

A pair list is the Learn2Reg form with labels or landmarks beside the images::

    {"name": "mine", "pairs": [{"name": "a-b", "group": "brains", "fixed": "a.nii.gz", "moving": "b.nii.gz",
      "fixed_labels": "...", "moving_labels": "...", "labels": [1, 2, 3], "fixed_points": "...", "moving_points": "...",
      "more_points": {"outside": ["...", "..."]}, "affine": true}]}

Paths are relative to the list. Each run is a process of its own: a peer that crashes costs one row, peak memory is
its own, threads are pinned alike. Only the registration call is timed, with the images in memory.
"""
