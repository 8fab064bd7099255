"""A virtual environment with the Python client, installed as a user would; made again when what is in it changed."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "tests/requirements.txt"
FOLDER = pathlib.Path(os.environ["WAVEFIELD_BIN_DIR"]).parent / "python-client"


def _digest():
    package = ROOT / "clients/python"
    files = [REQUIREMENTS, *ROOT.glob("proto/**/*.proto"), *package.glob("*.*"), *package.glob("wavefield/*.py")]
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(file for file in files if file.is_file()):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def run_inside(script):
    """Goes on as the environment's Python, with `script`; returns where it is that already."""
    python = FOLDER / "bin/python"
    if pathlib.Path(sys.prefix) == FOLDER:
        return
    stamp, digest = FOLDER / "installed", _digest()
    if not stamp.exists() or stamp.read_text() != digest:
        shutil.rmtree(FOLDER, ignore_errors=True)
        subprocess.run(["/usr/bin/python3", "-m", "venv", FOLDER], check=True)
        # Of the build as well: pip hands its environment on.
        environment = dict(os.environ, PIP_CONSTRAINT=str(REQUIREMENTS), PIP_DISABLE_PIP_VERSION_CHECK="1")
        subprocess.run([python, "-m", "pip", "install", "-q", f"{ROOT}/clients/python[pandas]"], check=True,
                       env=environment)
        stamp.write_text(digest)
    os.execv(python, [str(python), "-B", script, *sys.argv[1:]])
