"""The helper of each language: a sound and a wrong example are compiled with it, and audited."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from click.testing import CliRunner

from backnorm.cli import main
from backnorm.cli._commands import read_libraries, read_programs
from backnorm.cli._jobs import AuditJob, audit_jobs
from backnorm.host.helpers import FILES, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backnorm.audit.record import Record

EXAMPLES = Path(__file__).parents[2] / "examples" / "programs"

MOST_LINES = 60
"""A helper has fewer."""


class Example(NamedTuple):
    """An example: its file, how it is made, how it is run, and what is wrong with the wrong one."""

    file: str
    make: str
    command: str
    findings: tuple[str, ...]
    tool: str


TABLE = {
    "c": Example(
        "norm.c", "gcc -O1 -Wall -Wextra -Werror norm.c -o norm -lm", "./norm", ("G03",), "gcc"
    ),
    "cpp": Example(
        "norm.cpp",
        "g++ -std=c++14 -O1 -Wall -Wextra -Werror norm.cpp -o norm",
        "./norm",
        ("G02",),
        "g++",
    ),
    "js": Example("norm.mjs", "", "node norm.mjs", ("G04",), "node"),
    "julia": Example("norm.jl", "", "julia norm.jl", ("G02",), "julia"),
    "python": Example("norm.py", "", f"{sys.executable} norm.py", ("G01",), sys.executable),
    "rust": Example("norm.rs", "rustc -D warnings norm.rs", "./norm", ("G02",), "rustc"),
}


def made(language: str, folder: Path) -> Example:
    """Write the helper and the example into a folder, and compile them."""
    example = TABLE[language]
    if shutil.which(example.tool) is None:
        pytest.skip(f"{example.tool} is not installed")
    (folder / FILES[language]).write_text(text_of(language))
    shutil.copy(EXAMPLES / example.file, folder)
    if example.make:
        subprocess.run(example.make.split(), cwd=folder, check=True)
    return example


def audited(commands: Sequence[str], *, quick: bool = False) -> list[Record]:
    """Audit commands as the command line reads them."""
    read = read_programs(None, None, tuple(commands))  # type: ignore[arg-type]
    jobs = [AuditJob(one.text, program=one.words, quick=quick) for one in read]
    return list(audit_jobs(jobs))


def test_every_language_has_an_example() -> None:
    """And each helper fits on a page."""
    assert sorted(TABLE) == sorted(FILES)
    assert all(len(text_of(language).splitlines()) < MOST_LINES for language in FILES)


@pytest.mark.parametrize("language", TABLE)
def test_a_sound_and_a_wrong_example_get_their_verdicts(
    language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is found in the sound one by any probe, and in the wrong one its fault alone."""
    example = made(language, tmp_path)
    monkeypatch.chdir(tmp_path)
    sound, wrong = (audited([f"{example.command}{end}"]) for end in ("", " wrong"))
    assert [record.sound for record in sound] == [True] * len(sound)
    assert [found for record in sound for found in record.findings] == []
    found = [finding.code for record in wrong for finding in record.findings]
    assert tuple(found) == example.findings
    notes = [note for record in sound for note in record.notes]
    assert not any("ended" in note or "wrote" in note for note in notes), notes


MY_NORM = """
#include <cmath>
#include <cstddef>
#include <vector>
const size_t C = 3, S = 4;
using Values = std::vector<double>;
struct Gradients { Values dx, dgamma, dbeta; };
template <class F> void each(size_t n, size_t c, F f) {
  for (size_t i = 0; i < n; i++) for (size_t s = 0; s < S; s++) f((i * C + c) * S + s); }
inline void moments(size_t n, const Values& x, size_t c, double& mean, double& r) {
  double var = 0; mean = 0;
  each(n, c, [&](size_t i) { mean += x[i] / (n * S); });
  each(n, c, [&](size_t i) { var += (x[i] - mean) * (x[i] - mean) / (n * S); });
  r = 1 / std::sqrt(var + 1e-5); }
inline Values my_norm(const Values& x, const Values& gamma, const Values& beta) {
  Values y(x.size()); size_t n = x.size() / (C * S);
  for (size_t c = 0; c < C; c++) { double mean, r; moments(n, x, c, mean, r);
    each(n, c, [&](size_t i) { y[i] = gamma[c] * (x[i] - mean) * r + beta[c]; }); }
  return y; }
inline Gradients my_norm_backward(const Values& x, const Values& gamma, const Values& dy) {
  Gradients g{Values(x.size()), Values(C), Values(C)}; size_t n = x.size() / (C * S);
  for (size_t c = 0; c < C; c++) { double mean, r; moments(n, x, c, mean, r);
    each(n, c, [&](size_t i) { g.dbeta[c] += dy[i]; g.dgamma[c] += dy[i] * (x[i] - mean) * r; });
    each(n, c, [&](size_t i) { g.dx[i] = gamma[c] * r * (dy[i] - g.dbeta[c] / (n * S)); }); }
  return g; }
"""
"""A layer as an author has it: its gradient takes the variance as a constant."""

PAGE = EXAMPLES.parents[1] / "docs" / "programs.md"
OWN_LINES = 10


def test_the_path_of_an_author_is_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ten lines compile as they stand there, and give the verdict."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    blocks = re.findall(r"```cpp\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    program = textwrap.dedent("    " + blocks[1].lstrip())
    assert len([line for line in program.splitlines() if line.strip()]) <= OWN_LINES
    assert all(line in MY_NORM for line in blocks[0].replace(");", ")").splitlines())
    (tmp_path / "audit.cpp").write_text(program)
    (tmp_path / "my_norm.hpp").write_text(MY_NORM)
    (tmp_path / "backnorm.hpp").write_text(text_of("cpp"))
    subprocess.run([compiler, "-O2", "audit.cpp", "-o", "audit"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    (record,) = audited(["./audit"], quick=True)
    assert [found.code for found in record.findings] == ["G02"]


MY_BATCH_NORM = """
#include <cmath>
#include <cstddef>
#include <vector>
using Values = std::vector<float>;
struct MyBatchNorm {
  Values gamma, beta, dgamma, dbeta, running_mean, running_var;
  bool training = true;
  explicit MyBatchNorm(size_t channels) : dgamma(channels), dbeta(channels), C(channels) {}
  Values forward(const Values& x) {
    Values y(x.size()); h = Values(x.size()), r = Values(C), n = x.size() / (C * S);
    for (size_t c = 0; c < C; c++) {
      double mean = 0, var = 0;
      each(c, [&](size_t i) { mean += x[i] / double(n * S); });
      each(c, [&](size_t i) { var += (x[i] - mean) * (x[i] - mean) / double(n * S); });
      if (training) {
        running_mean[c] = 0.9 * running_mean[c] + 0.1 * mean;
        running_var[c] = 0.9 * running_var[c] + 0.1 * var * (n * S) / (n * S - 1.0);
      } else mean = running_mean[c], var = running_var[c];
      r[c] = 1 / std::sqrt(var + 1e-5);
      each(c, [&](size_t i) { h[i] = (x[i] - mean) / std::sqrt(var + 1e-5);
                              y[i] = gamma[c] * h[i] + beta[c]; }); }
    return y; }
  Values backward(const Values& dy) {
    Values dx(dy.size());
    for (size_t c = 0; c < C; c++) {
      double sum = 0, along = 0, m = training ? n * S : INFINITY;
      each(c, [&](size_t i) { sum += dy[i]; along += double(dy[i]) * h[i]; });
      dbeta[c] = sum, dgamma[c] = along;
      each(c, [&](size_t i) { dx[i] = gamma[c] * r[c] * (dy[i] - sum / m - h[i] * along / m); }); }
    return dx; }
 private:
  size_t C, S = 4, n = 0; Values h, r;
  template <class F> void each(size_t c, F f) {
    for (size_t i = 0; i < n; i++) for (size_t s = 0; s < S; s++) f((i * C + c) * S + s); }
};
"""
"""A layer with running statistics as an author has it: right, with the law of torch."""

CLASS_LINES = 16


def test_a_class_with_running_statistics_is_audited_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its 16 lines compile as they stand there; the law of its running statistics is named."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    blocks = re.findall(r"```cpp\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks[3].splitlines()) == CLASS_LINES
    declared = blocks[2].replace(";", "").splitlines()
    assert all(line in MY_BATCH_NORM.replace(";", "") for line in declared)
    (tmp_path / "audit.cpp").write_text(blocks[3])
    (tmp_path / "my_batch_norm.hpp").write_text(MY_BATCH_NORM)
    (tmp_path / "backnorm.hpp").write_text(text_of("cpp"))
    subprocess.run([compiler, "-O1", "audit.cpp", "-o", "audit"], cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    train, evaluation = audited(["./audit"])
    assert [(one.mode, one.sound, one.findings) for one in (train, evaluation)] == [
        ("batch", True, ()),
        ("frozen", True, ()),
    ]
    law, _, dialects = train.state.partition(". Dialects with this law: ")
    assert law == "mean = 0.9*mean + 0.1*mean; var = 0.9*var + 0.1*unbiased variance"
    assert "torch" in dialects.split(", ")


MISTAKES = {
    'c.put("y", "x", c.get("gamma"));': "y has 3 values, and x has 24",
    'c.put("y", "inputs", c.get("x"));': "inputs is not in this request",
    'c.out("y", "x")[0] = c.get("running_mean")[0];': "running_mean is not in this request",
}


def test_a_mistake_with_the_helper_for_cpp_is_told_by_its_name(tmp_path: Path) -> None:
    """A length or a name that is wrong is the error of one request."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed")
    lines = " ".join(f"if (which == {n}) {{ {line} }}" for n, line in enumerate(MISTAKES))
    (tmp_path / "norm.cpp").write_text(f"""#include "backnorm.hpp"
    int main(int, char** words) {{ int which = std::stoi(words[1]);
      backnorm::serve<double>("kind=batch sample=3,4 params=3",
        [&](backnorm::Call<double>& c) {{ {lines} }}); }}""")
    (tmp_path / "backnorm.hpp").write_text(text_of("cpp"))
    subprocess.run([compiler, "norm.cpp", "-o", "norm"], cwd=tmp_path, check=True)
    records = audited([f"{tmp_path / 'norm'} {n}" for n in range(len(MISTAKES))], quick=True)
    assert [found.code for record in records for found in record.findings] == ["G20"] * 3
    for record, want in zip(records, MISTAKES.values(), strict=True):
        assert want in record.findings[0].got
        assert ("if it has one mode" in record.findings[0].remedy) == ("values" not in want)


def test_a_function_of_a_library_is_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its name; one that is not there is told."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    source = str(EXAMPLES / "library.c")
    make = f"gcc -O1 -Wall -Wextra -Werror -shared -fPIC {source} -o libnorm.so -lm"
    subprocess.run(make.split(), cwd=tmp_path, check=True)
    monkeypatch.chdir(tmp_path)
    names = ("./libnorm.so:norm", "./libnorm.so:wrong", "./libnorm.so:none")
    read = read_libraries(None, None, names)  # type: ignore[arg-type]
    records = list(audit_jobs([AuditJob(one.text, program=one.words) for one in read]))
    assert [record.target for record in records] == list(names)
    assert [record.sound for record in records] == [True, False, None]
    codes = [[found.code for found in record.findings] for record in records]
    assert codes == [[], ["G02"], ["G26"]]
    assert "undefined symbol: none" in records[2].findings[0].got


@pytest.mark.parametrize("language", FILES)
def test_the_command_prints_the_helper(language: str) -> None:
    """As it is in its file."""
    result = CliRunner().invoke(main, ["program", language])
    assert (result.exit_code, result.stdout) == (0, text_of(language))


def test_an_unknown_language_is_refused_in_one_line() -> None:
    """With those that there are."""
    result = CliRunner().invoke(main, ["program", "fortran"])
    assert result.exit_code == 2
    assert "'c', 'cpp', 'js', 'julia', 'python', 'rust'" in result.stderr
