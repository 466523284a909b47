"""The rules of the house that no linter checks."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from importlib.util import resolve_name
from pathlib import Path

import pytest

import backnorm
from backnorm.host.calls import FRAMEWORKS

STDLIB = sys.stdlib_module_names

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "backnorm"
SOURCES = sorted(PACKAGE.rglob("*.py"))

NO_SOURCE = {".git", "__pycache__", "build", "dist", "htmlcov", "out", "site"}
TEXT = {"", ".cpp", ".hpp", ".md", ".py", ".pyi", ".toml", ".txt", ".yml"}


HOSTED = sorted((PACKAGE / "host").rglob("*.py"))
"""What runs under the interpreter of a target."""

CALLS = PACKAGE / "host" / "calls"
"""How each framework is called."""


BUILT_ON_JAX = {
    "flax": ("layers/linen.py", "layers/nnx.py", "conversion/nnx.py"),
    "haiku": ("layers/haiku.py",),
    "equinox": ("layers/equinox.py", "conversion/equinox.py"),
}
"""Where backnorm.jax imports them."""


def name_of(path: Path) -> str:
    """Name of the module in a file, as it is imported."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def base_of(framework: str) -> str:
    """Name the framework whose arrays a framework takes: itself, or for Flax JAX."""
    calls = import_module(f"backnorm.host.calls.{framework}")
    # Keras would have to be imported to tell its backend, and names no framework in its file.
    itself = framework == "keras" or not hasattr(calls, "base")
    return framework if itself else str(calls.base())


def calls_that_may_import(framework: str) -> set[Path]:
    """Files in host/calls of a framework, and of those that are built on it."""
    built = [name for name in FRAMEWORKS if framework in (name, base_of(name))]
    return {path for path in CALLS.glob("*.py") if framework_of(path) in built}


def framework_of(path: Path) -> str:
    """Name the framework of a file in host/calls: torch.py and torch_modules.py are of torch."""
    return path.stem.partition("_")[0]


def is_public(path: Path) -> bool:
    """Tell whether users may import the module: no part of its name is private."""
    return not any(part.startswith("_") for part in name_of(path).split("."))


def imported(path: Path) -> set[str]:
    """All modules that a file names in an import, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            base = node.module or ""
            names.update({base} | {f"{base}.{alias.name}" for alias in node.names})
    return names


def imports(path: Path, module: str) -> bool:
    """Tell whether a file imports a module or something inside it."""
    return any(name == module or name.startswith(f"{module}.") for name in imported(path))


def outside_functions(tree: ast.Module) -> list[ast.AST]:
    """Everything in a module that runs when it is imported."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        found.append(node)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting.extend(ast.iter_child_nodes(node))
    return found


def named_at_top(tree: ast.Module) -> list[str]:
    """Names of the classes in a module, and of the aliases of types at its top.

    A class that stands in for a framework's has its name, by which Flax and Haiku name parameters:
    ``class BatchNorm(linen.BatchNorm)``.
    """
    named = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and not any(
            isinstance(base, ast.Attribute) and base.attr == node.name for base in node.bases
        )
    ]
    for node in outside_functions(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            targets = [node.target]
        names = [target.id for target in targets if isinstance(target, ast.Name)]
        named += [name for name in names if re.fullmatch(r"_?[A-Z]\w*[a-z]\w*", name)]
    return named


def needed(path: Path, modules: set[str]) -> set[str]:
    """Modules of the package that a file imports from; a package itself only where it is meant."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = name_of(path) if path.stem == "__init__" else name_of(path.parent)
            base = resolve_name("." * node.level + (node.module or ""), package)
            inside = {f"{base}.{alias.name}" for alias in node.names}
            names.update(name if name in modules else base for name in inside)
    return names & modules


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Sets of modules that import each other, directly or by way of others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = graph[waiting.pop()] - seen
            seen |= new
            waiting.extend(new)
        return seen

    ways = {name: reached(name) for name in graph}
    circles = {
        tuple(sorted(other for other in ways[name] if name in ways[other]))
        for name in graph
        if name in ways[name]
    }
    return sorted(map(list, circles))


def in_tree() -> list[Path]:
    """Text files of the project, without what is built from them."""
    return [
        path
        for path in ROOT.rglob("*")
        if path.suffix in TEXT
        and not NO_SOURCE.intersection(path.relative_to(ROOT).parts)  # .git of a worktree is a file
        and not any(
            part.startswith(".") and part != ".ci" for part in path.relative_to(ROOT).parts[:-1]
        )
        and path.is_file()
    ]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_framework_appears_in_its_adapter_only(framework: str) -> None:
    """Its calls, backnorm/torch for torch, the benchmark's peers and the readers' children do.

    So do the layers and the conversion of a framework that is built on JAX.
    """
    homes = {PACKAGE / framework, PACKAGE / "bench" / "peers.py", *calls_that_may_import(framework)}
    homes |= {PACKAGE / "jax" / part for part in BUILT_ON_JAX.get(framework, ())}
    homes |= set((PACKAGE / "convert" / "files").rglob("_*_child.py"))  # run, and never imported
    strangers = [p for p in SOURCES if not homes & {p, *p.parents} and imports(p, framework)]
    assert strangers == []


@pytest.mark.parametrize("path", HOSTED, ids=name_of)
def test_what_other_interpreters_run_is_plain(path: Path) -> None:
    """It reads as Python 3.6, and needs the standard library, NumPy and its own framework."""
    ast.parse(path.read_text(), feature_version=(3, 6))
    known = {"numpy", *STDLIB}
    if path.parent == CALLS.parent / "onnx":
        known |= {"onnx", "onnxruntime", "ml_dtypes"}
    if path.parent == CALLS and framework_of(path) in FRAMEWORKS:
        known |= {framework_of(path), base_of(framework_of(path))}
    assert {name.partition(".")[0] for name in imported(path)} <= known


def test_the_compiled_module_has_one_door() -> None:
    """kernels/native_kernel.py alone names the compiled module: all else works without."""
    doors = [name_of(p) for p in SOURCES if "_native_ext" in p.read_text()]
    assert doors == ["backnorm.kernels.native_kernel"]


def test_imports_are_absolute() -> None:
    """Without relative imports the search above, and any other, finds every import by its name.

    Files in host/ import each other relatively: where backnorm is not, their package has another
    name.
    """
    relative = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        if path not in HOSTED
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_oracles_do_not_know_the_package() -> None:
    """What judges backnorm must not be made of it."""
    oracles = sorted((ROOT / "tests" / "oracles").rglob("*.py"))
    assert oracles
    assert [p.name for p in oracles if imports(p, "backnorm")] == []


@pytest.mark.parametrize("path", [p for p in SOURCES if is_public(p)], ids=name_of)
def test_a_public_module_says_what_it_shows(path: Path) -> None:
    """``__all__`` is there, sorted (constants, classes, functions), with nothing private."""
    lists = [
        ast.literal_eval(node.value)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        and ast.unparse(node).startswith("__all__")
        and node.value
    ]
    assert len(lists) == 1
    names = lists[0]
    assert names == sorted(names, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    assert [n for n in names if n.startswith("_") and n != "__version__"] == []


def test_a_name_means_one_thing() -> None:
    """No class and no alias of a type has the name of another in the package."""
    homes: dict[str, list[str]] = {}
    for path in SOURCES:
        for name in named_at_top(ast.parse(path.read_text())):
            homes.setdefault(name, []).append(name_of(path))
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_imports_form_no_circle() -> None:
    """Neither at import, nor within functions, nor for types alone."""
    modules = {name_of(path): path for path in SOURCES}
    graph = {name: needed(path, set(modules)) for name, path in modules.items()}
    assert "backnorm.errors" in graph["backnorm._check"]
    assert cycles(graph) == []


def test_circles_are_found() -> None:
    """Two that share a module are one circle; what only leads into a circle is not part of it."""
    graph = {"a": {"b"}, "b": {"a"}, "c": {"a"}, "d": {"e"}, "e": {"f"}, "f": {"d", "a"}}
    assert cycles(graph) == [["a", "b"], ["d", "e", "f"]]
    assert cycles({**graph, "b": {"a", "d"}}) == [["a", "b", "d", "e", "f"]]
    assert cycles({"a": {"b"}, "b": set()}) == []


@pytest.mark.parametrize(
    ("folder", "inside"), [("audit", ("", "measure")), ("kernels/_native", ("",))], ids=str
)
def test_a_readme_names_every_file(folder: str, inside: tuple[str, ...]) -> None:
    """And no file that is not there. Of the probes it names only what they share."""
    home = PACKAGE / folder
    files = {path.name for name in inside for path in (home / name).glob("*.*")} - {"README.md"}
    rows = re.findall(r"^\| (`.*?`) \|", (home / "README.md").read_text(), re.MULTILINE)
    named = set(re.findall(r"`([^`]+\.\w+)`", " ".join(rows)))
    assert named >= files
    assert named - files <= {path.name for path in (home / "probes").glob("*.py")}


def test_no_drawer_for_odds_and_ends() -> None:
    """A module is named after its one concern."""
    drawers = {"common", "helper", "helpers", "misc", "util", "utils"}
    assert [name_of(p) for p in SOURCES if p.stem.strip("_") in drawers] == []


def test_nothing_reads_the_environment_at_import() -> None:
    """A choice is an argument: what a module does must not depend on when it was imported."""
    readers = [
        name_of(path)
        for path in SOURCES
        for node in outside_functions(ast.parse(path.read_text()))
        if isinstance(node, (ast.Attribute, ast.Name))
        and re.fullmatch(r"(os\.)?(environ|getenv)", ast.unparse(node))
    ]
    assert readers == []


def test_no_public_function_takes_whatever_it_is_given() -> None:
    """With ``**kwargs`` a misspelled argument would be no error."""
    takers = [
        f"{name_of(path)}.{node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.args.kwarg
        and not node.name.startswith("_")
    ]
    assert takers == []


def test_a_raise_line_holds_no_message() -> None:
    """Errors are built by the constructors in errors.py, where all messages stand together."""
    spoken = [
        f"{name_of(path)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
        and any(isinstance(arg, (ast.Constant, ast.JoinedStr)) for arg in node.exc.args)
    ]
    assert spoken == []


def test_no_path_of_a_machine_in_the_project() -> None:
    """A path that exists on one machine only is of no use in a project that others clone."""
    machine = re.compile(r"/(?:work|farm|root|home)/|/tmp/[a-z]")
    files = in_tree()
    assert ROOT / "pyproject.toml" in files
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if machine.search(line)
    ]
    assert found == []


CLOCK = re.compile(
    r"(time|timeit|datetime)\.(?!(sleep|timedelta|date)$)\w+|(datetime\.)?date\.today"
)
"""What these modules have, but for waiting, for a length of time, and for a given day."""


def clocks(path: Path) -> list[str]:
    """Names by which a file reads a clock or imports one."""
    tree = ast.parse(path.read_text())
    names = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    } | {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return sorted(name for name in names if CLOCK.fullmatch(name))


def test_every_test_beside_torch_can_be_left_out() -> None:
    """The wheel is tested without PyTorch: a file skips itself, its imports do not fail."""
    files = (ROOT / "tests" / "with_torch").rglob("test_*.py")
    assert [
        path.name for path in files if "importorskip" not in path.read_text(encoding="utf-8")
    ] == []


def test_no_test_reads_a_clock() -> None:
    """What is counted (calls, steps, bytes) does not depend on what else the machine is doing."""
    files = [p for p in (ROOT / "tests").rglob("*.py") if "goldens" not in p.parts]
    assert Path(__file__) in files
    found = {str(p.relative_to(ROOT)): clocks(p) for p in files}
    assert {name: read for name, read in found.items() if read} == {}


def test_the_supported_pythons_have_one_home() -> None:
    """The classifiers in pyproject.toml: the pages repeat the range, what builds looks it up."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    classifier = re.compile(r"Programming Language :: Python :: (3\.\d+)")
    lowest, *_, highest = [m[1] for m in map(classifier.fullmatch, project["classifiers"]) if m]
    assert project["requires-python"] == f">={lowest}"
    pages, builds = ("README.md", "CONTRIBUTING.md"), ("Makefile", "CMakeLists.txt", ".ci/run")
    version = re.compile(r"[Pp]ython *(3\.\d+(?: to 3\.\d+)?)")
    said = {name: version.findall((ROOT / name).read_text()) for name in (*pages, *builds)}
    assert [said[name] for name in pages] == [[f"{lowest} to {highest}"]] * len(pages)
    assert [said[name] for name in builds] == [[]] * len(builds)


def run(code: str) -> str:
    """Run code in a fresh interpreter, away from the project, and return what it printed."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT.anchor, text=True
    ).stdout


def test_the_version_is_that_of_the_package() -> None:
    """``backnorm.__version__`` and pyproject.toml agree."""
    assert backnorm.__version__ == importlib.metadata.version("backnorm")


def test_import_loads_numpy_and_nothing_heavier() -> None:
    """``import backnorm`` adds no package to those that ``import numpy`` loads."""
    loaded = run(
        "import sys, numpy\n"
        "before = set(sys.modules)\n"
        "import backnorm\n"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    assert set(loaded.split()) - set(sys.stdlib_module_names) - {"numpy"} == {"backnorm"}


def test_import_loads_less_than_numpy_does() -> None:
    """Modules are counted, not seconds, which depend on what else the machine is doing."""
    count = "import sys\nbefore = len(sys.modules)\nimport {}\nprint(len(sys.modules) - before)"
    modules = {name: int(run(count.format(name))) for name in ("numpy", "backnorm")}
    assert modules["backnorm"] < 2 * modules["numpy"], modules
