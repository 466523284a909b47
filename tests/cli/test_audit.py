"""The command backnorm audit: exit status, stdout, stderr, files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from backnorm.audit.record import Record
from backnorm.audit.specimens import SPECIMENS
from backnorm.cli import main
from backnorm.cli._targets import FRAMEWORKS

if TYPE_CHECKING:
    from click.testing import Result

FILE = Path(__file__).with_name("targets.py")


def run(*arguments: str) -> Result:
    """Run backnorm audit."""
    return CliRunner().invoke(main, ["audit", *arguments])


STATUS = {
    "all sound": (("engine",), 0),
    "one not": (("engine", f"{FILE}:Cut"), 1),
    "one lost": (("engine", f"{FILE}:Cut", f"{FILE}:Raises"), 2),
    "no such target": (("engine", "no.such.target"), 2),
}


@pytest.mark.parametrize("name", STATUS)
def test_the_exit_status_says_how_it_went(name: str) -> None:
    """0 all sound, 1 some not, 2 something could not be audited; the engine is there each time."""
    arguments, status = STATUS[name]
    result = run(*arguments)
    assert result.exit_code == status
    assert "backnorm.batch_norm (frozen)" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize("options", [["--quick"], pytest.param([], marks=pytest.mark.thorough)])
def test_specimens_get_their_verdicts(options: list[str], tmp_path: Path) -> None:
    """The gallery as JSON: every specimen as its table says, and status 1.

    A quick audit does not look at later calls.
    """
    file = tmp_path / "f.json"
    result = run("specimens", "--json", str(file), *options)
    assert result.exit_code == 1
    looked_at = {n: v for n, (_, v) in SPECIMENS.items() if not (options and v.later)}
    assert f"{len(looked_at)} of {len(looked_at)} got the expected verdict" in result.stdout
    targets = json.loads(file.read_text())["targets"]
    assert [t["target"] for t in targets] == list(SPECIMENS)
    got = {t["target"]: (t["mode"], t["through"], t["sound"]) for t in targets}
    assert {name: got[name] for name in looked_at} == {
        name: (v.mode, v.through, v.sound) for name, v in looked_at.items()
    }


def test_json_on_stdout_is_nothing_but_json() -> None:
    """With - the document takes the place of the table."""
    result = run("engine", "--json", "-")
    assert [t["through"] for t in json.loads(result.stdout)["targets"]] == ["both", "none"]


@pytest.mark.parametrize(("mode", "names"), [("train", [""]), ("eval", [" (frozen)"])])
def test_a_mode_can_be_chosen(mode: str, names: list[str]) -> None:
    """--mode train and --mode eval leave one of the engine's subjects."""
    targets = json.loads(run("engine", "--mode", mode, "--json", "-").stdout)["targets"]
    assert [t["target"] for t in targets] == [f"backnorm.batch_norm{name}" for name in names]


WRONG_USE = {
    "no JSON": (("engine", "--args", "{"), "Expecting property name"),
    "JSON of a number": (("engine", "--args", "4"), "must be a JSON object or array, got 4"),
    "unknown kind": (("engine", "--kind", "bach"), "'bach' is not one of 'batch', 'layer'"),
    "unknown mode": (("engine", "--mode", "test"), "'test' is not one of 'train', 'eval', 'both'"),
    "no directory": (
        ("engine", "--json", "no/such/f.json"),
        "no/such/f.json cannot be written: FileNotFoundError: No such file or directory. No file",
    ),
    "no page in a folder": (("engine", "--html", "no/such/f.html"), "FileNotFoundError"),
    "no place for JUnit": (("engine", "--junit", "tests"), "is a directory, not a regular file"),
    "a folder that takes no files": (
        ("engine", "--json", "/proc/f.json"),
        "cannot be written",
    ),
    "two documents in one file": (("engine", "--json", "a", "--html", "./a"), "only one document"),
    "two documents on stdout": (
        ("engine", "--json", "-", "--junit", "-"),
        "stdout can hold only one",
    ),
    "JSON among annotations": (("engine", "--json", "-", "--format", "github"), "stdout can hold"),
    "an input without a model": (("engine", "--input", "8,3"), "pass --model too"),
    "a model without a name": (("--model",), "--model needs a target"),
    "a model's kind": (
        ("a.py:b", "--model", "--kind", "layer"),
        "--kind cannot be used with --model",
    ),
    "a model's mode": (
        ("a.py:b", "--model", "--mode", "eval"),
        "--mode cannot be used with --model",
    ),
    "a quick model": (("a.py:b", "--model", "--quick"), "--quick cannot be used with --model"),
    "no shape": (("a.py:b", "--model", "--input", "8x3"), "'8x3' is not a shape"),
    "an empty input": (("a.py:b", "--model", "--input", "8,0"), "'8,0' is not a shape"),
    "integers below 0": (("a.py:b", "--model", "--input", "8:0"), "'8:0' is not a shape"),
    "a giant input": (("a.py:b", "--model", "--input", "99999,99999"), "9,999,800,001 numbers"),
    "empty axes": (("engine", "--axes", ""), "got ''. Pass for example NHWC"),
    "two axes of samples": (("engine", "--axes", "NN"), "got 'NN'. Pass for example NHWC"),
    "samples last": (("engine", "--axes", "CN"), "got 'CN'. Pass for example NHWC"),
    "an empty kind": (("engine", "--kind", ""), "'' is not one of 'batch', 'layer'"),
    "an input without text": (("a.py:b", "--model", "--input", ""), "'' is not a shape"),
    "no time": (("engine", "--limit", "0"), "0.0 is not in the range x>0.0"),
    "less than no time": (("engine", "--limit", "-1"), "-1.0 is not in the range x>0.0"),
    "a time that is not a number": (("engine", "--limit", "nan"), "nan is not a number of seconds"),
    "a file without a name": (("engine", "--json", ""), "the name is empty"),
    "unknown format": (("engine", "--format", "html"), "'html' is not one of 'text', 'github'"),
}


@pytest.mark.parametrize("name", WRONG_USE)
def test_wrong_use_is_refused_before_the_audit(name: str) -> None:
    """Status 2, the reason on stderr, nothing on stdout."""
    arguments, message = WRONG_USE[name]
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_json_takes_no_pipes_place(tmp_path: Path) -> None:
    """Status 2 before the audit, and the pipe is there."""
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    result = run("engine", "--json", str(pipe))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "pipe.json is a pipe, not a regular file" in result.stderr
    assert pipe.is_fifo()


def test_every_document_is_written_beside_the_table(tmp_path: Path) -> None:
    """One audit, three files, and nothing else in their folder."""
    files = {name: tmp_path / f"a.{name}" for name in ("json", "html", "junit")}
    options = [word for name, file in files.items() for word in (f"--{name}", str(file))]
    result = run(f"{FILE}:Cut", *options)
    assert result.exit_code == 1
    assert "G01" in result.stdout
    assert sorted(tmp_path.iterdir()) == sorted(files.values())
    assert json.loads(files["json"].read_text())["schema"] == 2
    assert files["html"].read_text().startswith("<!doctype html>")
    assert ET.fromstring(files["junit"].read_text()).get("failures") == "1"  # noqa: S314 - our own


def test_a_file_that_fails_after_the_audit_costs_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table and the other file are there, the old text too; the reason is the last line."""
    lost, kept = tmp_path / "a.json", tmp_path / "a.xml"
    lost.write_text("old")
    replace = Path.replace

    def full(path: Path, target: Path) -> Path:
        if target == lost:
            raise OSError(28, "No space left on device", str(path))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full)
    result = run(f"{FILE}:Cut", "--json", str(lost), "--junit", str(kept))
    assert result.exit_code == 2
    assert "G01" in result.stdout
    assert "a.json cannot be written: OSError: No space left on device. " in result.stderr
    assert lost.read_text() == "old"
    assert ET.fromstring(kept.read_text()).get("failures") == "1"  # noqa: S314 - our own
    assert sorted(tmp_path.iterdir()) == [lost, kept]


def test_details_are_there_where_one_asks_for_them() -> None:
    """A line a target, and with -v what was found, causes and remedy."""
    short, long = run(f"{FILE}:Cut").stdout, run(f"{FILE}:Cut", "-v").stdout
    assert "Pass -v to read the findings in full." in short
    assert "remedy" not in short
    assert "remedy    Let the mean be a function of x" in long
    assert "-v" not in long


def test_annotations_stand_where_the_target_does() -> None:
    """--format github names file and line of the class, and escapes the rest of the line."""
    line = next(
        number
        for number, text in enumerate(FILE.read_text().splitlines(), start=1)
        if text.startswith("class Cut")
    )
    result = run(f"{FILE}:Cut", "--format", "github")
    assert result.exit_code == 1
    first, *others = result.stdout.splitlines()
    assert first.startswith("::error file=")
    assert f"targets.py,line={line},title=G01 " in first
    assert "Cut::G01: The gradient does not go through the mean" in first
    assert first.endswith("Let the mean be a function of x, or subtract the mean of d from dx.")
    assert others == [
        "1 layer audited: 0 sound, 1 not sound.",
        (
            "4 probes skipped as not possible: the audit cannot differentiate its gradient again "
            "(2); the audit cannot call it in float16 or bfloat16 (1); the audit cannot choose its "
            "number of threads (1)."
        ),
    ]


def test_a_missing_framework_is_told_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a target and any framework the engine is audited, and a line says what is not."""
    monkeypatch.setattr("backnorm.cli._targets.is_installed", lambda _: False)
    result = run()
    assert result.exit_code == 0
    assert "2 layers audited: 2 sound." in result.stdout
    assert result.stderr.startswith(
        "Not audited, since not installed (install them, or pass --python): "
    )
    assert result.stderr.endswith(", ".join(FRAMEWORKS) + "\n")


@pytest.mark.parametrize(
    ("targets", "name", "status"),
    [
        ((), "torch.nn.LazyNorm", 1),
        (("torch",), "torch.nn.LazyNorm", 1),
        (("torch", "a.py:N"), "torch.nn.LazyNorm", 1),
        (("torch", "a.py:N"), "a.py:N (eval)", 2),
        (("a.py:N",), "a.py:N", 2),
        (("a.py:parts",), "one of them", 2),
        (("a.py:build", "--model"), "model bn", 1),
    ],
)
def test_a_layer_that_is_not_judged_counts_by_who_named_it(
    monkeypatch: pytest.MonkeyPatch, targets: tuple[str, ...], name: str, status: int
) -> None:
    """2 if it was named itself; in a framework's list and in a model it is like a finding."""
    record = Record(name, "batch", not_judged="its y has kinks")
    monkeypatch.setattr("backnorm.cli._jobs.audit_jobs", lambda *_, **__: iter([record]))
    monkeypatch.setattr("backnorm.cli._targets.is_installed", lambda _: True)
    assert run(*targets).exit_code == status
