"""How to build and install Crust: ``pip install .`` (settings of the tools are in ``pyproject.toml``)."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent

# Read, not imported: the dependencies of crust may not be installed yet.
VERSION = re.search(r'^__version__ = "([^"]+)"', (HERE / "crust" / "_version.py").read_text("utf-8"), re.MULTILINE)[1]
README = HERE / "README.md"

# Each lower bound has a reason.
REQUIRED = [
    "pynacl>=1.6.2",  # AEGIS; before it, keys with a part of small order pass as signing keys (CVE-2025-69277)
    "pyyaml>=6.0.1",  # far past CVE-2020-14343; older ones do not build with today's Cython
    "miniupnpc>=2.3",  # far past CVE-2017-8798 in its parser of what routers say
    "ifaddr>=0.2",  # type hints
    "platformdirs>=4",  # its directories moved now and then before
]
EXTRAS = {
    "cli": ["rich>=13", "prompt_toolkit>=3.0.40"],
    "test": [
        "pytest>=8",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.5",
        "hypothesis>=6.100",
        "noiseprotocol>=0.3.1",
        "cryptography>=42",
    ],
    "plot": ["matplotlib>=3.8"],  # crust bench --plot
    "bench": ["pyzmq>=26", "matplotlib>=3.8"],
    "bench-libp2p": ["libp2p>=0.2"],  # heavy; only to measure against
}
# Formatting changes between minor versions of ruff, and what mypy finds between its major ones.
TOOLS = ["ruff>=0.17,<0.18", "mypy>=2,<3", "types-PyYAML>=6", "coverage>=7.6"]
EXTRAS["interop"] = ["libtorrent>=2.0.11; python_version < '3.14'"]  # another uTP peer to test against
EXTRAS["dev"] = [*EXTRAS["interop"], *EXTRAS["cli"], *EXTRAS["plot"], *EXTRAS["test"], *TOOLS]

setup(
    name="crust-p2p",
    version=VERSION,
    description="Reliable, encrypted peer-to-peer connections for Python: threads, channels and events",
    long_description=README.read_text("utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license="GPL-3.0-only",
    license_files=["COPYING"],
    python_requires=">=3.11",
    packages=find_packages(include=["crust", "crust.*"]),
    package_data={"crust": ["py.typed"], "crust.dissector": ["*.lua"]},
    install_requires=REQUIRED,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["crust = crust.__main__:main"]},
    classifiers=[
        "Intended Audience :: Developers",
        "Operating System :: OS Independent",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Communications",
        "Topic :: System :: Networking",
        "Typing :: Typed",
    ],
    keywords="p2p peer-to-peer network noise encryption tcp threads",
)
