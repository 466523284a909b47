"""The command backnorm audit --model: whole models in a child process, and all of its reports."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
from click.testing import CliRunner

pytest.importorskip("torch", reason="PyTorch is not installed")

from backnorm.cli import main
from backnorm.report import json_schema

if TYPE_CHECKING:
    from click.testing import Result

FILE = Path(__file__).with_name("whole_models.py")

IMAGES = ("--input", "8,3,32,32")


def run(name: str, *arguments: str) -> Result:
    """Run backnorm audit --model for a name in whole_models.py."""
    return CliRunner().invoke(main, ["audit", f"{FILE}:{name}", "--model", *arguments])


def targets(result: Result) -> list[dict[str, Any]]:
    """What is in the JSON on stdout, which is as the schema says."""
    document = json.loads(result.stdout)
    jsonschema.validate(document, json_schema())
    return list(document["targets"])


def codes(result: Result) -> dict[str, list[str]]:
    """Codes of the findings of those layers that have any, by their names in the model."""
    found = {t["target"]: [f["code"] for f in t["findings"]] for t in targets(result)}
    return {name.rpartition(" ")[2]: codes for name, codes in found.items() if codes}


WRONG = {
    "left_in_eval": (IMAGES, {"5.norm": ["M01"]}),
    "frozen_by_accident": (IMAGES, {"6.inner.1": ["M02"]}),
    "without_statistics": (IMAGES, {"4.norm": ["M03"]}),
    "cut_by_a_hook": (IMAGES, {"8.norm": ["M04"]}),
    "cut_by_a_wrapper": (IMAGES, {"7.norm": ["M04"]}),
    "detached": (IMAGES, {"8.norm": ["M05"]}),
    "below_eps": (IMAGES, {"9.norm": ["M07"]}),
    "with_inputs": ((), {"1": ["M08"]}),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_found_in_its_place(name: str) -> None:
    """One layer has the finding and no other has any; status 1."""
    arguments, want = WRONG[name]
    result = run(name, *arguments, "--json", "-")
    assert codes(result) == want
    assert (result.exit_code, result.stderr) == (1, "")


def test_a_sound_model_is_sound() -> None:
    """All 20 layers, with their shares and their drawings; status 0."""
    result = run("sound", *IMAGES, "--json", "-")
    found = targets(result)
    assert (result.exit_code, len(found)) == (0, 20)
    for one in found:
        assert (one["sound"], one["through"], one["findings"]) == (True, "both", [])
        assert len(one["parts"]["dx"]) == len(one["parts"]["mean"]) > 4
        assert one["coefficients"]["variance"] == pytest.approx(1, abs=1e-3)


RUNS = {
    "an input that is guessed by a convolution": ("sound", (), 20),
    "words, guessed by their table": ("Words", (), 1),
    "words by their shape": ("Words", ("--input", "4,9:50"), 1),
    "two arguments": ("Two", ("--input", "8,3,6,6", "--input", "8,5:50"), 2),
    "arguments of the class": ("Sized", ("--args", "[4]", "--input", "2,3,8,8"), 1),
    "other inputs than its own": ("with_inputs", IMAGES, 20),
    "a dictionary": ("with_a_dictionary", (), 1),
    "arguments by their names": ("with_names", (), 2),
    "a shape that nothing tells": ("Recurrent", ("--input", "4,5,3"), 1),
    "what it writes to stdout": ("Talking", ("--input", "4,3"), 1),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", RUNS)
def test_a_model_gets_the_input_that_it_takes(name: str) -> None:
    """All layers are audited, and all are sound."""
    target, arguments, count = RUNS[name]
    result = run(target, *arguments, "--json", "-")
    assert [t["audited"] for t in targets(result)] == [True] * count
    assert codes(result) == {}
    assert result.exit_code == 0


def test_a_guess_is_told() -> None:
    """In a note, once; where the input is given there is none."""
    first, *others = targets(run("sound", "--json", "-"))
    assert first["notes"] == [
        "The input of shape (8, 3, 64, 64) is a guess from 0; set another with --input."
    ]
    assert not any(one["notes"] for one in others)


LOST = {
    "NoSuchName": ((), "G27", "no NoSuchName in whole_models"),
    "NO_MODEL": ((), "G26", "int"),
    "raises": ((), "G26", "FileNotFoundError: no such checkpoint"),
    "Sized": ((), "G26", "missing 1 required positional argument: 'channels'"),
    "plain": ((), "G26", "none of its 3 modules"),
    "Recurrent": ((), "G26", "GRU"),
    "sound": (("--input", "8,5,32,32"), "G20", "got 5 channels"),
    "Words": (("--input", "8,16"), "G20", "AssertionError"),
    "one_value": (("--input", "1,3,8,8"), "G20", "ValueError: Expected more than 1 value"),
    "Dying": ((), "G25", "exit status 7"),
    "Hanging": (("--limit", "8"), "G21", "no answer"),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", LOST)
def test_what_cannot_be_audited_says_why(name: str) -> None:
    """By the code of its finding, and what was got in place of a model that runs; status 2."""
    arguments, code, words = LOST[name]
    result = run(name, *arguments, "--json", "-")
    (target,) = targets(result)
    finding = target["findings"][0]
    assert (finding["code"], target["audited"], result.exit_code) == (code, False, 2)
    assert words in finding["got"]


def test_the_reason_names_the_pass_and_the_line() -> None:
    """Of what builds a model, and of a model that raises."""
    line = FILE.read_text().splitlines().index("def raises() -> nn.Module:") + 1
    (target,) = targets(run("raises", "--json", "-"))
    (finding,) = target["findings"]
    told = re.match(
        r".*:raises raised while it built the model \((.*):(\d+): `raise ", finding["what"]
    )
    assert told
    assert told[1].endswith(FILE.name)
    assert line < int(told[2]) < line + 5
    (target,) = targets(run("sound", "--input", "8,5,32,32", "--json", "-"))
    (finding,) = target["findings"]
    assert " raised in its forward pass (torch/nn/modules/conv.py:" in finding["what"]
    assert finding["causes"][0] == "the input is not one that the model takes"


def test_a_lost_target_takes_no_other_along(tmp_path: Path) -> None:
    """Each has its line, in order: one that ends its process, one that is broken, two that run."""
    broken = tmp_path / "broken.py"
    broken.write_text("import a_module_that_nobody_has\n")
    names = (f"{FILE}:Talking", f"{broken}:build", f"{FILE}:raises", f"{FILE}:Talking")
    result = run("Dying", *names, "--input", "4,3", "--json", "-")
    found = [[f["code"] for f in target["findings"]] for target in targets(result)]
    assert found == [["G25"], [], ["G27"], ["G26"], []]


def test_every_report_holds_what_was_found(tmp_path: Path) -> None:
    """Text, page, JUnit and annotations: the layer, its code, and the line of what builds it."""
    page, cases = tmp_path / "a.html", tmp_path / "a.xml"
    files = ("--html", str(page), "--junit", str(cases))
    result = run("left_in_eval", *IMAGES, *files, "-v")
    assert "M01  " in result.stdout
    assert "20 layers audited: 20 sound. 1 has other findings." in result.stdout
    assert "M01: " in page.read_text()
    failure = ET.fromstring(cases.read_text()).find(".//failure")  # noqa: S314 - our own
    assert failure is not None
    assert failure.get("type") == "M01"
    line = FILE.read_text().splitlines().index("def left_in_eval() -> nn.Module:") + 1
    told = run("left_in_eval", *IMAGES, "--format", "github")
    assert f",line={line},title=M01 " in told.stdout
    assert told.stdout.count("::error ") == told.exit_code == 1
