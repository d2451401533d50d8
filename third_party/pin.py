"""Pins Python packages with hashes, for x86-64 Linux and Python 3.11 to 3.14.

    python third_party/pin.py third_party/oracle.in > third_party/oracle.txt

Resolves with `uv` (which must be installed) and keeps the wheels that can be used here. Packages in
DROPPED are dependencies by name only; without them nothing that the oracles do changes, and the
environment is 1.4 GB smaller.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

DROPPED = {
    "triton": "GPU kernels",
    "cuda-bindings": "GPU from Python",
    "cuda-pathfinder": "GPU from Python",
    "cuda-toolkit": "has no files",
    "nvidia-cusolver": "loaded at the first CUDA factorisation",
    "nvidia-nvtx": "CUDA profiling",
}
WHEEL = re.compile(
    r"-(py3|py2\.py3|cp3\d+)-(none|abi3|cp31[1-4])-(any|manylinux[^-]*x86_64[^-]*)\.whl$"
)


def marker(package: dict) -> str:
    """The package's condition on the Python version; conditions on the platform always hold here."""
    parts = re.findall(r"python_full_version [<>=]+ '[\d.*]+'", package.get("marker", ""))
    parts = [p for p in parts if p != "python_full_version >= '3.11'"]
    return " ; " + " and ".join(parts) if parts else ""


def usable(package: dict) -> bool:
    condition = package.get("marker", "")
    return "win32" not in condition and "== 'emscripten'" not in condition


def main() -> None:
    source = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder, "pylock.toml")
        command = ["uv", "pip", "compile", "--universal", "--python-version=3.11", "--format=pylock.toml"]
        subprocess.run([*command, "--quiet", source, "-o", lock], check=True, stdout=sys.stderr)
        packages = tomllib.loads(lock.read_text())["packages"]
    print(f"# Made by pin.py from {Path(source).name}: x86-64 Linux, Python 3.11 to 3.14. Do not edit.")
    for package in packages:
        if package["name"] in DROPPED or not usable(package):
            continue
        wheels = [w for w in package["wheels"] if WHEEL.search(w["url"])]
        if not wheels:
            sys.exit(f"no wheel of {package['name']} {package['version']} can be used here")
        hashes = sorted(w["hashes"]["sha256"] for w in wheels)
        lines = [f"{package['name']}=={package['version']}{marker(package)}"]
        print(" \\\n".join(lines + [f"    --hash=sha256:{h}" for h in hashes]))


if __name__ == "__main__":
    main()
