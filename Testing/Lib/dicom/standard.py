"""DICOM registrations read by the text of the standard alone: PS3.5 for the bytes, PS3.3 C.20.2 and C.20.3 else.

Nothing of the library and nothing of pydicom is used, so that both can be held against it.
"""

import struct

import numpy as np

LONG = (b"OB", b"OW", b"OF", b"SQ", b"UN", b"UT", b"OD", b"OL", b"UC", b"UR")
ENDLESS = 0xFFFFFFFF


def elements(data, start=0, end=None):
    """{(group, element): bytes, or a list of such dictionaries} of explicit little-endian data; and where it ends."""
    found, place, end = {}, start, len(data) if end is None else end
    while place < end:
        tag = struct.unpack_from("<HH", data, place)
        if tag == (0xFFFE, 0xE00D):  # an item without a length ends
            return found, place + 8
        kind = data[place + 4 : place + 6]
        if kind in LONG:
            (length,), place = struct.unpack_from("<I", data, place + 8), place + 12
        else:
            (length,), place = struct.unpack_from("<H", data, place + 6), place + 8
        if kind == b"SQ":
            found[tag], place = items(data, place, None if length == ENDLESS else place + length)
        else:
            found[tag], place = data[place : place + length], place + length
    return found, place


def items(data, place, end):
    found = []
    while end is None or place < end:
        group, element, length = struct.unpack_from("<HHI", data, place)
        place += 8
        if (group, element) == (0xFFFE, 0xE0DD):
            break
        one, place = elements(data, place, None if length == ENDLESS else place + length)
        found.append(one)
    return found, place


def read(path):
    data = path.read_bytes()
    assert data[128:132] == b"DICM"
    return elements(data, 132)[0]


def text(value):
    return value.decode("ascii").rstrip(" \0")


def decimals(value):
    return np.array([float(part) for part in text(value).split("\\")])


def matrix(item):
    return decimals(item[0x3006, 0x00C6]).reshape(4, 4)


def linear(data):
    """{frame: [matrix, ...]}: C.20.2.1.1, a point of an item's frame to the registered frame."""
    found = {}
    for item in data[0x0070, 0x0308]:
        (registration,) = item[0x0070, 0x0309]
        (single,) = registration[0x0070, 0x030A]
        found.setdefault(text(item[0x0020, 0x0052]), []).append(matrix(single))
    return found


def deformable(data):
    """(frame, points (n, 3) of the registered frame, where they lie in the source frame (n, 3)): C.20.3.1.1."""
    (item,) = data[0x0064, 0x0002]
    before, after = (matrix(item[tag][0]) if tag in item else np.eye(4) for tag in ((0x64, 0x0F), (0x64, 0x10)))
    (grid,) = item[0x0064, 0x0005]
    cosines = decimals(grid[0x0020, 0x0037])
    row, column = cosines[:3], cosines[3:]
    size = struct.unpack("<3I", grid[0x0064, 0x0007])
    step = struct.unpack("<3d", grid[0x0064, 0x0008])
    offsets = np.frombuffer(grid[0x0064, 0x0009], "<f4").astype(float).reshape(-1, 3)
    k, j, i = (index.ravel() for index in np.indices(size[::-1]))  # x runs fastest
    points = decimals(grid[0x0020, 0x0032]) + (
        np.outer(i * step[0], row) + np.outer(j * step[1], column) + np.outer(k * step[2], np.cross(row, column))
    )
    moved = points @ before[:3, :3].T + before[:3, 3] + offsets
    return text(item[0x0064, 0x0003]), points, moved @ after[:3, :3].T + after[:3, 3]
