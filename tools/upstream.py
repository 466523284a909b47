"""Run timm's own tests of models: converted models must pass what stock models pass.

    python tools/upstream.py SOURCE        SOURCE is a checkout of timm's repository

The tests are run as they are, once with stock and once with converted models of the timm that is
installed (tests/with_torch/architectures/timm_plugin.py). Tests of TorchScript may be refused
instead, with the message that names `revert`. Weights are not downloaded: tests that need them fail
with stock models as well, and the table counts them.
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
from typing import Any

ROOT = Path(__file__).parents[1]

MODELS = (
    "densenet121",
    "efficientnet_b0",
    "mobilenetv3_small_100",
    "regnetx_002",
    "resnet18",
    "vgg11_bn",
)
"""Normalizations of PyTorch in blocks and in a Sequential, and timm's with and without activation.

`regnetx_002` is the model of timm's test of features that TorchScript compiles.
"""

RAN = (0, 1)
"""Exit codes of pytest after it ran all tests; 1 if some failed."""

HEAD = """| test | stock passes | converted passes | refused | stock does not pass |
|---|---|---|---|---|"""


def outcomes(source: Path, models: tuple[str, ...], *, converted: bool) -> dict[str, Any]:
    """Run the tests of the models in another process, and return the outcome of each."""
    environment = {name: v for name, v in os.environ.items() if name != "GITHUB_ACTIONS"}
    environment |= {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "tests")}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcomes.json"
        command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:randomly"]
        command += ["-p", "no:cacheprovider", "-p", "with_torch.architectures.timm_plugin"]
        # Under importlib the checkout does not come before the installed timm.
        command += ["--import-mode=importlib", f"--rootdir={source}"]
        command += [f"--config-file={source / 'pyproject.toml'}", f"--models={','.join(models)}"]
        command += [f"--outcomes={file}", *["--converted"] * converted]
        done = subprocess.run(
            [*command, str(source / "tests" / "test_models.py")], check=False, env=environment
        )
        if done.returncode not in RAN:
            raise SystemExit(done.returncode)
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def faults(stock: dict[str, Any], converted: dict[str, Any], models: tuple[str, ...]) -> list[str]:
    """Return what is wrong, a text for each fault.

    A test of TorchScript may be refused; every other test that stock passes must pass converted,
    and have converted layers. Each model must pass some test, or the comparison says nothing of it.
    """
    found = []
    for test in filter(lambda name: passes(stock[name]), stock):
        outcome = converted[test]
        if not passes(outcome) and not is_refused(test, outcome):
            found.append(f"{test}: {outcome['outcome']} if converted\n{outcome['text']}")
        elif not outcome["layers"]:
            found.append(f"{test}: no layer was converted")
    passing = {outcome["model"] for outcome in converted.values() if passes(outcome)}
    return found + [f"{name}: no test passed" for name in models if name not in passing]


def passes(outcome: dict[str, Any]) -> bool:
    """Tell whether a test passed."""
    return bool(outcome["outcome"] == "passed")


def is_refused(test: str, outcome: dict[str, Any]) -> bool:
    """Tell whether a test of TorchScript ended in the refusal that names the way out."""
    return "torchscript" in test and outcome["outcome"] == "refused"


def table(stock: dict[str, Any], converted: dict[str, Any]) -> str:
    """Return a row for each function of the test file, in its order, and the sums."""
    rows: dict[str, list[int]] = {}
    for test, outcome in stock.items():
        after, row = converted[test], rows.setdefault(test.partition("[")[0], [0] * 4)
        counted = [passes(outcome), passes(after), is_refused(test, after), not passes(outcome)]
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
    if len(arguments) != 1:
        raise SystemExit(__doc__)
    source = Path(arguments[0]).resolve()
    stock, converted = (outcomes(source, MODELS, converted=c) for c in (False, True))
    wrong = faults(stock, converted, MODELS)
    print(f"timm {version('timm')}, torch {version('torch')}\n\n{table(stock, converted)}\n")
    print(reasons(stock))
    if wrong:
        raise SystemExit("\n\n".join(wrong))


if __name__ == "__main__":
    main(sys.argv[1:])
