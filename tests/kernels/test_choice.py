"""Which kernels there are, and how one is chosen."""

from __future__ import annotations

import pytest

from backnorm import kernels
from backnorm.errors import NotInstalledError, UnknownNameError
from backnorm.kernels import native_kernel

KNOWN_LEVELS = ("avx512", "avx512-without-bf16", "avx2", "baseline")


def test_numpy_is_always_there_and_last() -> None:
    """The names are in order of speed; instruction-set levels are known ones, the best first."""
    *native, last = kernels.available()
    assert last == "numpy"
    assert native == [f"native-{level}" for level in KNOWN_LEVELS if f"native-{level}" in native]


def test_auto_is_the_first() -> None:
    """The fastest is taken where none is asked for."""
    name = kernels.available()[0]
    assert kernels.get().level == name.removeprefix("native-")
    assert kernels.get("auto").level == name.removeprefix("native-")


@pytest.mark.parametrize("name", kernels.available())
def test_each_is_given_by_its_name(name: str) -> None:
    """Name and level of a kernel are those it was asked for by."""
    kernel = kernels.get(name)
    assert name in {f"{kernel.name}-{kernel.level}", kernel.level}


@pytest.mark.skipif(not native_kernel.levels(), reason="the C++ part is not built")
@pytest.mark.parametrize("name", ["fast", "native-", "native-sse9", "Numpy"])
def test_an_unknown_name_is_refused(name: str) -> None:
    """With all the names there are."""
    known = ", ".join(map(repr, ("auto", "native", *kernels.available())))
    with pytest.raises(UnknownNameError, match=f"^kernel must be one of {known}, got '{name}'"):
        kernels.get(name)


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the C++ part."""
    monkeypatch.setattr(native_kernel, "_native", None)
    monkeypatch.setattr(kernels, "available", kernels.available.__wrapped__)
    monkeypatch.setattr(kernels, "get", kernels.get.__wrapped__)


@pytest.mark.usefixtures("unbuilt")
def test_without_the_compiled_part_numpy_serves() -> None:
    """It is the only kernel, it is what auto gives, and describe says why."""
    assert kernels.available() == ("numpy",)
    assert kernels.get("auto").name == "numpy"
    assert kernels.describe()["native part"] == "not built: NumPy is used, which is slower"
    assert native_kernel.thread_count() == 1


@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize("name", ["native", "native-avx2"])
def test_without_the_compiled_part_native_is_refused(name: str) -> None:
    """Saying what is missing, instead of taking NumPy in silence."""
    with pytest.raises(NotInstalledError, match=r"^The C\+\+ extension is not installed"):
        kernels.get(name)


def test_describe_names_the_kernel_in_use() -> None:
    """As text, for `backnorm env`."""
    found = kernels.describe()
    assert found["kernel"] == kernels.get().name
    assert found["kernels available"] == ", ".join(kernels.available())
