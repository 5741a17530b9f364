"""Are the system's libraries for off-screen Qt and OpenGL there?  ``python -m Testing.system_libraries qt gl``

The wheels of PySide6 and VTK bring everything but a few libraries of the system. This looks for those (by loading
them). If some are missing, root on a Debian or Ubuntu machine gets them installed; anybody else gets one line that
names the command to type, and exit code 1.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys

# Library -> Debian package.
_LIBRARIES = {
    "qt": {
        "libEGL.so.1": "libegl1",
        "libGL.so.1": "libgl1",
        "libX11.so.6": "libx11-6",
        "libxkbcommon.so.0": "libxkbcommon0",
        "libfontconfig.so.1": "libfontconfig1",
        "libglib-2.0.so.0": "libglib2.0-0",
        "libdbus-1.so.3": "libdbus-1-3",
    },
    "gl": {
        "libEGL.so.1": "libegl1",
        "libEGL_mesa.so.0": "libegl-mesa0",
        "libX11.so.6": "libx11-6",
    },
}
# Loaded later by those above, or no library: the software renderer and a font.
_COMPANIONS = {"qt": ["fonts-dejavu-core"], "gl": ["libgl1-mesa-dri"]}


def missing_libraries(groups: list[str]) -> list[str]:
    """Names of the libraries of ``groups`` ("qt", "gl") that cannot be loaded."""
    names = dict.fromkeys(name for group in groups for name in _LIBRARIES[group])
    return [name for name in names if not _loads(name)]


def packages_for(missing: list[str], groups: list[str]) -> list[str]:
    """Debian packages that hold the ``missing`` libraries, with what belongs to them."""
    found = [_LIBRARIES[group].get(name) for group in groups for name in missing]
    companions = [package for group in groups for package in _COMPANIONS[group]]
    return list(dict.fromkeys([package for package in found if package] + companions))


def _loads(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _install(packages: list[str]) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(
            [*command, "-y"], env=environment, capture_output=True, text=True, check=False, encoding="utf-8"
        )
        if done.returncode != 0:
            sys.stderr.write(done.stderr)
            return False
    return True


def main(groups: list[str]) -> int:
    """Check, install where possible, and say what to type where not. Returns the exit code."""
    unknown = [group for group in groups if group not in _LIBRARIES]
    if unknown or not groups:
        print(f"Say which libraries to look for: {' '.join(_LIBRARIES)}", file=sys.stderr)
        return 2
    if not sys.platform.startswith("linux"):
        return 0  # the wheels and the system bring all of it
    missing = missing_libraries(groups)
    if not missing:
        return 0
    packages = packages_for(missing, groups)
    if os.geteuid() == 0 and shutil.which("apt-get") and _install(packages) and not missing_libraries(groups):
        print(f"Installed {' '.join(packages)}.")
        return 0
    print(f"{', '.join(missing)} missing; type: sudo apt-get install {' '.join(packages)}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
