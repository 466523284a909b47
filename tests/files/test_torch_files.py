"""Files of `torch.save`, archives and older ones: read and written over as data."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backnorm.convert import files
from backnorm.convert.files._recognized import LEGACY_TORCH
from backnorm.convert.files.torch._safe import is_safe
from backnorm.errors import BacknormError, FileError, NotInstalledError
from files import models
from files.fuzzing.damage import damaged_inside, random_edit
from files.test_fuzz import few_calls

if TYPE_CHECKING:
    from pathlib import Path

SAMPLES = ["torch.pt", "torch_checkpoint.pt", "torch_legacy.pt"]

MAGIC = 0x1950A86A20F9469CFC6C


def with_mean(model: files.ModelFile, mean: np.ndarray) -> files.ModelFile:
    """The model with another mean in its first layer."""
    first = replace(model.layers[0], state={**model.layers[0].state, "running_mean": mean})
    return replace(model, layers=(first, *model.layers[1:]))


def loaded(path: Path) -> dict[str, Any]:
    """What PyTorch loads."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    content = torch.load(path, weights_only=True)
    state: dict[str, Any] = content.get("state_dict", content)
    return state


@pytest.mark.parametrize("name", SAMPLES)
def test_values_are_written_over_where_they_lie(name: str, tmp_path: Path) -> None:
    """All other bytes but the checksums of an archive stay, and PyTorch loads the new values."""
    models.need("safetensors")  # which bfloat16 needs ml_dtypes beside
    model, path = files.read(models.SAMPLES / name), tmp_path / name
    files.write(path, with_mean(model, np.arange(5.0)))
    before, after = (models.SAMPLES / name).read_bytes(), path.read_bytes()
    assert len(before) == len(after)
    assert sum(a != b for a, b in zip(before, after, strict=True)) <= 5 * 4 + 2 * 4
    if zipfile.is_zipfile(path):
        assert zipfile.ZipFile(path).testzip() is None
    back = files.read(path)
    np.testing.assert_array_equal(back.layers[0].state["running_mean"], np.arange(5.0))
    np.testing.assert_array_equal(
        back.layers[1].state["running_var"], model.layers[1].state["running_var"]
    )
    assert loaded(path)["0.running_mean"].tolist() == [0, 1, 2, 3, 4]


def test_values_are_written_over_without_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new file needs PyTorch, and the message says what installs it."""
    models.need("safetensors")  # which bfloat16 needs ml_dtypes beside
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    state = {name: np.ones(3, np.float32) for name in ("running_mean", "running_var")}
    layer = files.NormLayer("bn", "torch", state, {"affine": False})
    new = files.ModelFile(tmp_path / "n.pt", "torch", (layer,))
    with pytest.raises(NotInstalledError, match=r"A new file of the format torch .*\[torch\]"):
        files.write(tmp_path / "n.pt", new)
    with pytest.raises(NotInstalledError, match=r"A new file of the format torch .*\[torch\]"):
        files.convert_model(replace(new, format="npz"), tmp_path / "n.pt", "torch")


def repacked(data: bytes, method: int) -> bytes:
    """An archive with its members compressed in another way."""
    new = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(new, "w", method) as file:
        for name in old.namelist():
            file.writestr(name, old.read(name))
    return new.getvalue()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_that_was_packed_anew_is_written_over(method: int, tmp_path: Path) -> None:
    """Compressed or not, and with its checksums before the members."""
    models.need("safetensors")  # which bfloat16 needs ml_dtypes beside
    (tmp_path / "a.pt").write_bytes(repacked((models.SAMPLES / "torch.pt").read_bytes(), method))
    files.write(tmp_path / "b.pt", with_mean(files.read(tmp_path / "a.pt"), np.arange(5.0)))
    with zipfile.ZipFile(tmp_path / "b.pt") as archive:
        assert archive.testzip() is None
        assert {entry.compress_type for entry in archive.infolist()} == {method}
    assert loaded(tmp_path / "b.pt")["0.running_mean"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "name", ["a_tensor_with_attributes", "conjugated", "negated", "uint16", "uint64", "bool"]
)
@pytest.mark.parametrize("archive", [True, False])
def test_tensors_of_all_kinds_have_the_values_that_torch_gives(
    name: str,
    archive: bool,  # noqa: FBT001
    tmp_path: Path,
) -> None:
    """In archives and in old files."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    numbers = torch.arange(6.0).reshape(2, 3)
    named = torch.nn.Parameter(numbers.clone())
    named.owner = "somebody"
    tensors = {
        "a_tensor_with_attributes": named,
        "conjugated": torch.complex(numbers, numbers).conj().t(),
        "negated": torch.complex(numbers, numbers).conj().imag[:, 1:],
        "uint16": numbers.to(torch.uint16)[1],
        "uint64": numbers.to(torch.uint64).t(),
        "bool": numbers > 2,
    }
    state = {"a": tensors[name], "b": numbers}
    torch.save(state, tmp_path / "m.pt", _use_new_zipfile_serialization=archive)
    got = files.read(tmp_path / "m.pt").others
    want = tensors[name].detach().resolve_conj().resolve_neg().numpy()
    np.testing.assert_array_equal(got["a"], want, strict=True)
    np.testing.assert_array_equal(got["b"], numbers.numpy(), strict=True)
    lazy = files.open_lazily(tmp_path / "m.pt").others
    np.testing.assert_array_equal(lazy["a"], want, strict=True)


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor", "ignore:TypedStorage")
@pytest.mark.parametrize("archive", [True, False])
def test_tensors_that_are_not_arrays_are_noted(archive: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """They stay in the file, and go into no other."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    state = {
        "s": torch.eye(3).to_sparse(),
        "m": torch.empty(3, device="meta"),
        "q": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "n.running_mean": torch.zeros(3),
        "n.running_var": torch.ones(3),
    }
    torch.save(state, tmp_path / "m.pt", _use_new_zipfile_serialization=archive)
    model = files.read(tmp_path / "m.pt")
    words = "it is carried through in this format only"
    assert model.notes == (
        f"s is sparse; {words}",
        f"m is without values; {words}",
        f"q is quantized; {words}",
    )
    mean = np.arange(3.0, dtype=np.float32)
    files.write(tmp_path / "n.pt", with_mean(model, mean))
    back = torch.load(tmp_path / "n.pt", weights_only=True)
    assert back["n.running_mean"].tolist() == [0, 1, 2]
    assert back["s"].to_dense().tolist() == np.eye(3).tolist()


def test_checksums_that_were_not_written_are_not_checked(tmp_path: Path) -> None:
    """PyTorch can be told not to write them, and does not read them."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    state = {f"n.running_{name}": torch.ones(3) for name in ("mean", "var")}
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "m.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    model = files.read(tmp_path / "m.pt")
    files.write(tmp_path / "n.pt", with_mean(model, np.arange(3.0)))
    assert loaded(tmp_path / "n.pt")["n.running_mean"].tolist() == [0, 1, 2]


def test_arrays_in_one_place_cannot_get_different_values(tmp_path: Path) -> None:
    """One would silently replace the other."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    both = torch.ones(3)
    state = {f"{n}.running_{name}": both for n in "ab" for name in ("mean", "var")}
    torch.save(state, tmp_path / "m.pt")
    model = files.read(tmp_path / "m.pt")
    with pytest.raises(FileError, match=r"must fit in the place .* another array in the same pla"):
        files.write(tmp_path / "n.pt", with_mean(model, np.arange(3.0)))
    twos = {name: np.full(3, 2.0) for name in ("running_mean", "running_var")}
    layers = tuple(replace(layer, state=twos) for layer in model.layers)
    files.write(tmp_path / "n.pt", replace(model, layers=layers))
    assert loaded(tmp_path / "n.pt")["b.running_var"].tolist() == [2, 2, 2]


def test_a_value_that_a_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    """It would be infinite in float16."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    state = {f"n.running_{name}": torch.ones(3).half() for name in ("mean", "var")}
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(FileError, match=r"layer n, running_mean .* too large for float16"):
        files.write(tmp_path / "n.pt", with_mean(files.read(tmp_path / "m.pt"), np.full(3, 1e6)))


def test_what_torch_takes_is_taken_and_nothing_else() -> None:
    """PyTorch's own list of classes and functions is in ours; code is not."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    allowed = torch._weights_only_unpickler._get_allowed_globals()
    assert [name for name in allowed if not is_safe(name)] == []
    names = ("os.system", "posix.system", "builtins.eval", "builtins.getattr", "torch.load")
    names += ("numpy.core.multiarray._reconstruct", "torch.jit._pickle.build_intlist")
    names += ("torch.hub.load", "torch.nn.modules.batchnorm.BatchNorm1d", "torch.utils.int8")
    assert [name for name in names if is_safe(name)] == []


def legacy(folder: Path, views: tuple[object, ...], *, counts: tuple[int, ...] = (6,)) -> Path:
    """An old file by hand: tensors of three values at offset 1 of parts of one storage of six."""
    out = io.BytesIO()
    for head in (MAGIC, 1001, {"little_endian": True}):
        pickle.dump(head, out, protocol=2)
    body = b"\x80\x02}("
    for index, view in enumerate(views):
        part = io.BytesIO()
        pickle.Pickler(part, protocol=2).dump(view)
        put = part.getvalue()[2:-1]
        body += b"X\x01\x00\x00\x00" + str(index).encode()
        body += b"ctorch._utils\n_rebuild_tensor\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        body += (
            b"X\x01\x00\x00\x00kX\x03\x00\x00\x00cpuK\x06" + put + b"tQK\x01K\x03\x85K\x01\x85tR"
        )
    out.write(body + b"u.")
    pickle.dump(["k"] * len(counts), out, protocol=2)
    for count in counts:
        out.write(struct.pack("<q", count) + np.arange(6, dtype="<f4").tobytes())
    (folder / "m.pth.tar").write_bytes(out.getvalue())
    return folder / "m.pth.tar"


def test_old_files_have_parts_of_storages(tmp_path: Path) -> None:
    """A storage was a view of another one; the endings .pth.tar are recognized by content."""
    model = files.read(legacy(tmp_path, (None, ("v", 2, 4))))
    assert model.format == "torch"
    assert model.others["0"].tolist() == [1, 2, 3]
    assert model.others["1"].tolist() == [3, 4, 5]
    assert np.shares_memory(model.others["0"], model.others["1"])


@pytest.mark.parametrize(
    ("views", "counts", "message"),
    [
        ((("v", 4, 4),), (6,), r", 0 has a header that claims 32 bytes, but the file has only 24"),
        ((("v", 2, 3),), (6,), r", 0 has a header that claims 16 bytes, but the file has only 12"),
        ((("v", -1, 3),), (6,), r"the data must be a tensor of a storage"),
        (((),), (6,), r"the data must be a tensor of a storage"),
        ((None,), (7,), r"storage k has a header that claims 28 bytes, but the file has only 24"),
        ((None,), (-1,), r"storage k has a header that claims -4"),
        ((None,), (6, 6), r"storage k must be one of the data's"),
        ((None,), (), r", 0 is not in the file"),
    ],
)
def test_a_damaged_old_file_is_refused(
    views: tuple[object, ...], counts: tuple[int, ...], message: str, tmp_path: Path
) -> None:
    """Naming the tensor or the storage."""
    with pytest.raises(FileError, match=message):
        files.read(legacy(tmp_path, views, counts=counts))


def test_the_magic_number_is_that_of_torch() -> None:
    """The bytes that are looked for."""
    assert MAGIC.to_bytes(10, "little") == LEGACY_TORCH


@pytest.mark.parametrize("name", SAMPLES)
def test_damaged_files_are_written_over_or_refused(name: str, tmp_path: Path) -> None:
    """With other values in a layer; what was written is read again."""
    models.need("safetensors")  # which bfloat16 needs ml_dtypes beside
    data = (models.SAMPLES / name).read_bytes()
    path = tmp_path / "m.pt"

    @settings(max_examples=150)
    @given(st.integers(0, 1 << 32))
    def check(seed: int) -> None:
        path.write_bytes(damaged_inside(data, Random(seed), random_edit))
        try:
            with few_calls():
                model = files.read(path)
                if model.layers and model.content is not None:
                    first = model.layers[0]
                    mean = np.arange(1.0, 1 + first.channels)
                    files.write(tmp_path / "n.pt", with_mean(model, mean))
                    back = files.read(tmp_path / "n.pt").layers[0]
                    np.testing.assert_array_equal(back.state["running_mean"], mean)
        except BacknormError:
            pass

    check()


def test_a_value_that_is_repeated_is_read(tmp_path: Path) -> None:
    """`expand` keeps one value in the storage, and a tensor of it is an array like any other."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    torch.save({"a": torch.arange(3.0)[:, None].expand(3, 100)}, tmp_path / "m.pt")
    (array,) = files.read(tmp_path / "m.pt").others.values()
    assert np.array_equal(array, np.repeat(np.arange(3.0), 100).reshape(3, 100))


def test_a_tensor_of_a_rare_dtype_is_noted(tmp_path: Path) -> None:
    """It stays in its file, and hinders nobody from the layers."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    state = {"bn.running_mean": torch.zeros(3), "bn.running_var": torch.ones(3)}
    torch.save({**state, "q": torch.ones(2).to(torch.float8_e4m3fnuz)}, tmp_path / "m.pt")
    model = files.read(tmp_path / "m.pt")
    assert [layer.name for layer in model.layers] == ["bn"]
    words = "q is of the dtype float8_e4m3fnuz; it is carried through in this format only"
    assert model.notes == (words,)
    files.write(tmp_path / "n.pt", model)
    assert (tmp_path / "n.pt").read_bytes() == (tmp_path / "m.pt").read_bytes()
