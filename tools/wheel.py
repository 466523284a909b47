"""Build the wheel as it would be shipped, look into it, and try it in clean environments.

    python tools/wheel.py build PYTHON       the wheel of an interpreter, portable by auditwheel
    python tools/wheel.py try PYTHON ARGS    its tests in a new environment; ARGS go to pytest
    python tools/wheel.py interpreters       the lowest and the highest Python of pyproject.toml

`make wheel` does all of it. Wheels are left in out/wheels. What runs this script has auditwheel and
patchelf.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from _interpreters import interpreter

ROOT = Path(__file__).parents[1]
WHEELS = ROOT / "out" / "wheels"
ENVIRONMENTS = ROOT / "build" / "wheels"

LICENCES = ("LICENSE", "nanobind.txt", "robin_map.txt")
"""Our own, and those of what is linked into the module (CMakeLists.txt)."""

TESTS = ("tests/ops", "tests/kernels", "tests/cli")
TORCH_TESTS = ("tests/with_torch/engine",)

IDLE = ("bench", "--op", "idle", "--suite", "small", "--layout", "nchw", "--rounds", "15")


def versions(project: str) -> list[str]:
    """Return the lowest and the highest Python that the text of pyproject.toml names."""
    names = tomllib.loads(project)["project"]["classifiers"]
    found = [name.rpartition(" ")[2] for name in names if re.search(r"Python :: 3\.\d+$", name)]
    return [found[0], found[-1]]


def faults(names: list[str]) -> list[str]:
    """Say what is wrong with the files in a wheel."""
    found = [
        f"{name} is a library of the system, and would be loaded beside the one in use"
        for name in names
        if re.search(r"\.so(\.\d+)*$", name) and "_native_ext" not in name
    ]
    if not any("_native_ext" in name for name in names):
        found.append("the C++ part is missing")
    carried = {Path(name).name for name in names if ".dist-info/licenses/" in name}
    found += [f"the licence {name} is missing" for name in LICENCES if name not in carried]
    return found


def run(*command: str | Path, **more: str) -> None:
    """Run a command in the project's folder; end if it fails."""
    print("==", *command, flush=True)
    done = subprocess.run(list(map(str, command)), cwd=ROOT, env=os.environ | more, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def pip(python: str | Path, *arguments: str | Path) -> None:
    """Run pip with the project's constraints."""
    constraints = ("-c", "constraints.txt")
    run(python, "-m", "pip", "-qq", "--disable-pip-version-check", *arguments, *constraints)


def environment(python: str, name: str) -> Path:
    """Return the interpreter of a new environment."""
    folder = ENVIRONMENTS / name
    shutil.rmtree(folder, ignore_errors=True)
    run(python, "-m", "venv", folder)
    inside = folder / "bin" / "python"
    pip(inside, "install", "--upgrade", "pip")
    return inside


def tag_of(python: str) -> str:
    """Return how the names of wheels say which Python they are for, such as cp311."""
    code = "import sys; print('cp%d%d' % sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, check=True, text=True)
    return done.stdout.strip()


def wheel_of(python: str) -> Path:
    """Return the wheel that was built for this interpreter."""
    tag = tag_of(python)
    found = sorted(WHEELS.glob(f"backnorm-*-{tag}-*manylinux*.whl"))
    if not found:
        sys.exit(f"There is no wheel of {tag} in {WHEELS}. Run `tools/wheel.py build` first.")
    return found[-1]


def build(python: str) -> None:
    """Build the wheel of an interpreter into out/wheels, and look into it."""
    plain = ENVIRONMENTS / "plain"
    shutil.rmtree(plain, ignore_errors=True)
    inside = environment(python, "build")
    constraints = ("--build-constraint", "constraints.txt")
    # In the tree, where ccache finds what it has.
    where = ("-C", f"build-dir=build/wheel-{tag_of(python)}")
    pip(inside, "wheel", "--no-deps", *constraints, *where, "--wheel-dir", plain, ".")
    (made,) = plain.glob("backnorm-*.whl")
    repair = (sys.executable, "-m", "auditwheel", "repair", made, "--wheel-dir", WHEELS)
    run(*repair, PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    wheel = wheel_of(python)
    with zipfile.ZipFile(wheel) as file:
        wrong = faults(file.namelist())
    for line in wrong:
        print(f"{wheel.name}: {line}.", file=sys.stderr)
    if wrong:
        sys.exit(1)


def try_out(python: str, arguments: list[str], *, torch: bool) -> None:
    """Run tests of the wheel, and its calls after a rest, in an environment with nothing else."""
    wheel = wheel_of(python)
    inside = environment(python, "torch" if torch else "numpy")
    extras = "[test,torch]" if torch else "[test]"
    pip(inside, "install", f"{wheel}{extras}")
    run(inside.parent / "backnorm", "env")
    run(inside.parent / "backnorm", *IDLE)
    tests = [*TESTS, *TORCH_TESTS * torch]
    run(inside, "-m", "pytest", *(arguments or tests), OMP_WAIT_POLICY="passive")
    shutil.rmtree(inside.parents[1])


def main() -> None:
    """Do what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["build", "try", "interpreters"])
    parser.add_argument("python", nargs="?", default=sys.executable)
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser.add_argument("--torch", action="store_true", help="with PyTorch, and its tests")
    given = parser.parse_args()
    if given.what == "build":
        build(given.python)
    elif given.what == "try":
        try_out(given.python, given.arguments, torch=given.torch)
    else:
        for version in versions((ROOT / "pyproject.toml").read_text()):
            found = interpreter(version)
            print(found) if found else sys.exit(f"There is no Python {version} here.")


if __name__ == "__main__":
    main()
