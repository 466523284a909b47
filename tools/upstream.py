"""Run another project's own tests: the engine's models or layers must pass what stock passes.

    python tools/upstream.py SOURCE        SOURCE is a checkout of the repository of timm, Flax,
                                           Equinox or Haiku
    python tools/upstream.py needs SOURCE  what to say to make, to have the environment for it

The tests are run as they are, with the package that is installed: once with stock, and once with
converted models (timm) or with the layers of `backnorm.jax.layers`. `tools/_upstreams.py` says
which tests. Some may be refused instead: those of TorchScript and of complex numbers, with the
message of the refusal. Weights are not downloaded: tests that need them fail with stock models as
well, and the table counts them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from _upstreams import upstream_of

if TYPE_CHECKING:
    from _upstreams import Upstream

ROOT = Path(__file__).parents[1]

RAN = (0, 1)
"""Exit codes of pytest after it ran all tests; 1 if some failed."""

HEAD = """| test | stock passes | converted passes | refused | stock does not pass |
|---|---|---|---|---|"""

SHARED = {"HF_HUB_OFFLINE": "1", "XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
"""Variables of the tests: Haiku's look for eight devices, if it starts them itself."""


def outcomes(source: Path, upstream: Upstream, *, converted: bool) -> dict[str, Any]:
    """Run the tests of a checkout in another process, and return the outcome of each."""
    environment = {name: v for name, v in os.environ.items() if name != "GITHUB_ACTIONS"}
    environment |= SHARED | {"PYTHONPATH": str(ROOT / "tests")}
    with tempfile.TemporaryDirectory() as folder:
        file, none = Path(folder) / "outcomes.json", Path(folder) / "pytest.ini"
        none.write_text("[pytest]\n", encoding="utf-8")
        settings = source / upstream.settings if upstream.settings else none
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:randomly"]
        command += ["-p", "no:cacheprovider", "-p", upstream.plugin]
        # Under importlib the checkout does not come before the installed package.
        command += ["--import-mode=importlib", f"--rootdir={source}", f"--config-file={settings}"]
        command += [f"--outcomes={file}", *["--converted"] * converted, *upstream.options]
        tests = [str(source / name) for name in upstream.files if "test" in Path(name).name]
        done = subprocess.run([*command, *tests], check=False, env=environment)
        if done.returncode not in RAN:
            raise SystemExit(done.returncode)
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def faults(
    stock: dict[str, Any],
    converted: dict[str, Any],
    models: tuple[str, ...],
    refusable: str = "torchscript",
) -> list[str]:
    """Return what is wrong, a text for each fault.

    A test with the word `refusable` in its name may be refused; every other test that stock passes
    must pass converted, and have layers of the engine. Each model must pass some test, or the
    comparison says nothing of it.
    """
    found = []
    for test in filter(lambda name: passes(stock[name]), stock):
        outcome = converted[test]
        if not passes(outcome) and not is_refused(test, outcome, refusable):
            found.append(f"{test}: {outcome['outcome']} if converted\n{outcome['text']}")
        elif not outcome["layers"]:
            found.append(f"{test}: no layer was converted")
    passing = {outcome["model"] for outcome in converted.values() if passes(outcome)}
    return found + [f"{name}: no test passed" for name in models if name not in passing]


def passes(outcome: dict[str, Any]) -> bool:
    """Tell whether a test passed."""
    return bool(outcome["outcome"] == "passed")


def is_refused(test: str, outcome: dict[str, Any], refusable: str) -> bool:
    """Tell whether a test that may be refused was."""
    return refusable in test and outcome["outcome"] == "refused"


def table(stock: dict[str, Any], converted: dict[str, Any], refusable: str = "torchscript") -> str:
    """Return a row for each function of the test file, in its order, and the sums."""
    rows: dict[str, list[int]] = {}
    for test, outcome in stock.items():
        function = test.partition("[")[0].rstrip("0123456789")  # absl numbers cases at the end
        after, row = converted[test], rows.setdefault(function, [0] * 4)
        counted = [
            passes(outcome),
            passes(after),
            is_refused(test, after, refusable),
            not passes(outcome),
        ]
        row[:] = [n + more for n, more in zip(row, counted, strict=True)]
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    return "\n".join(
        [HEAD, *(f"| {name} | {' | '.join(map(str, n))} |" for name, n in rows.items())]
    )


def reasons(stock: dict[str, Any]) -> str:
    """Return why stock does not pass, a line for each reason."""
    counts = Counter(outcome["why"] for outcome in stock.values() if not passes(outcome))
    return "".join(f"stock does not pass, {n} times: {why}\n" for why, n in counts.items())


def main(arguments: list[str]) -> None:
    """Run the tests twice, print the table, and end with exit code 1 if something is wrong."""
    *word, path = arguments or [""]
    source = Path(path).resolve()
    upstream = upstream_of(source) if path and word in ([], ["needs"]) else None
    if upstream is None:
        raise SystemExit(__doc__)
    if word:
        print(upstream.needs())
        return
    stock, converted = (outcomes(source, upstream, converted=c) for c in (False, True))
    wrong = faults(stock, converted, upstream.subjects, upstream.refusable)
    versions = ", ".join(f"{name} {version(name)}" for name in upstream.versions)
    print(f"{versions}\n\n{table(stock, converted, upstream.refusable)}\n")
    print(reasons(stock))
    if wrong:
        raise SystemExit("\n\n".join(wrong))


if __name__ == "__main__":
    main(sys.argv[1:])
