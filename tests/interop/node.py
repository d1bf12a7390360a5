"""Packages of Node.js for tests and benchmarks: installed once, by ``npm``, into a cache that git ignores."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "npm"

UTP_NATIVE = "utp-native@2.5.3"
"""libutp, the implementation that most of the world runs, with a stream face."""
UDX_NATIVE = "udx-native@1.21.3"
"""Another reliable UDP transport written in C, to compare speeds with."""

INSTALL_TIMEOUT = 300.0  # seconds; a slow network, and on systems without prebuilt binaries a compiler run
HINT = "install Node.js 18 or newer (on Debian and Ubuntu: apt-get install nodejs npm)"


class Missing(Exception):
    """Node.js or a package is not there; the text says what to do. Tests are skipped then, and fail on CI."""


def node() -> str:
    """The path of the ``node`` program.

    Raises:
        Missing: there is none.
    """
    program = shutil.which("node")
    if program is None:
        raise Missing(f"needs node: {HINT}")
    return program


def node_modules(*packages: str) -> Path:
    """The directory ``node_modules`` with exactly these packages (and what they need).

    Several processes may call it at once: each installs into a directory of its own, and the first one's is kept.

    Args:
        packages: each with its version, such as `UTP_NATIVE`.

    Raises:
        Missing: there is no node or npm, or npm could not install them (no network, no binary for this system).
    """
    node()
    home = CACHE / "+".join(sorted(package.replace("/", "_") for package in packages))
    if not home.is_dir():
        _install(home, packages)
    return home / "node_modules"


def _install(home: Path, packages: tuple[str, ...]) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise Missing(f"needs npm to install {', '.join(packages)}: {HINT}")
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n", "ascii")
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        place = Path(scratch) / "home"
        place.mkdir()
        _npm(npm, place, packages)
        try:
            place.rename(home)
        except OSError:
            if not home.is_dir():  # else another process was faster, and its result is as good
                raise


def _npm(npm: str, place: Path, packages: tuple[str, ...]) -> None:
    # No install scripts: the packages bring binaries, and what has none for this system is told by the check below.
    quiet = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    names = [package.rpartition("@")[0] for package in packages]
    check = "".join(f"require({name!r});" for name in names)
    for command in ([npm, "install", "--prefix", str(place), *quiet, *packages], [node(), "-e", check]):
        try:
            subprocess.run(
                command, cwd=place, env=os.environ, capture_output=True, text=True, check=True, timeout=INSTALL_TIMEOUT
            )
        except subprocess.SubprocessError as error:
            said = (getattr(error, "stderr", None) or str(error)).strip()
            raise Missing(f"cannot install {', '.join(packages)}: {said[-500:]}") from error
