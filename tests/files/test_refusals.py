"""Files that are wrong in one way each: the message names the file, the layer and the field."""

from __future__ import annotations

import io
import json
import re
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backnorm.convert import files
from backnorm.convert.files import registry
from backnorm.convert.files._budget import OVERHEAD
from backnorm.errors import ConversionError, FileError, NotInstalledError, UnknownNameError
from files import models

C = np.ones(3, np.float32)
STATE = {"running_mean": C, "running_var": C}


def npz(folder: Path, **arrays: np.ndarray) -> Path:
    """Write an .npz file."""
    np.savez(folder / "m.npz", **arrays)
    return folder / "m.npz"


@pytest.mark.parametrize("name", models.RECORDED)
@pytest.mark.parametrize("parts", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(name: str, parts: float, tmp_path: Path) -> None:
    """Whatever the format, and nothing is said to be in it that is not."""
    path = models.FILES[name].path
    models.need(models.FILES[name].format)
    cut = tmp_path / path.name
    cut.write_bytes(path.read_bytes()[: int(parts * path.stat().st_size)])
    with pytest.raises(FileError, match=rf"^{re.escape(path.name)}"):
        files.read(cut)


def test_a_negative_variance_is_refused(tmp_path: Path) -> None:
    """With its channel."""
    var = np.array([1, 1, -0.5], np.float32)
    path = npz(tmp_path, **{"bn.running_mean": C, "bn.running_var": var})
    with pytest.raises(FileError, match=r"^m\.npz, layer bn, running_var must not be .* channel 2"):
        files.read(path)


def test_a_variance_that_is_no_number_is_refused(tmp_path: Path) -> None:
    """NaN is not negative, and no variance either."""
    var = np.array([1, np.nan, 1], np.float32)
    path = npz(tmp_path, **{"bn.running_mean": C, "bn.running_var": var})
    with pytest.raises(FileError, match=r"layer bn, running_var must not be .* nan in channel 1"):
        files.read(path)


def test_what_mxnet_leaves_below_zero_is_no_fault(tmp_path: Path) -> None:
    """It rebuilds the variance of a constant channel from a rounded root."""
    arrays = {f"bn.{name}": C for name in ("gamma", "beta", "running_mean")}
    path = npz(tmp_path, **arrays, **{"bn.running_var": np.full(3, -2e-20)})
    assert files.read(path).layers[0].dialect == "mxnet"


def test_a_wrong_length_is_refused(tmp_path: Path) -> None:
    """One array has more channels than the others."""
    arrays = {"bn.running_mean": np.ones(4, np.float32), "bn.running_var": C}
    with pytest.raises(
        FileError, match=r"layer bn, running_mean must have shape \(3,\), got \(4,\)"
    ):
        files.read(npz(tmp_path, **arrays))


def test_a_type_without_fractions_is_refused(tmp_path: Path) -> None:
    """Statistics are no whole numbers."""
    path = npz(tmp_path, **{"bn.running_mean": np.ones(3, np.int32), "bn.running_var": C})
    with pytest.raises(
        FileError, match=r"layer bn, running_mean must have one of the dtypes .*int32"
    ):
        files.read(path)


def test_a_missing_array_of_the_network_is_refused(tmp_path: Path) -> None:
    """The symbol file names a parameter that the parameter file has not."""
    symbol = (models.GOLDENS / "mxnet_params/symbol-symbol.json").read_text()
    (tmp_path / "net.json").write_text(symbol.replace("bn1_beta", "bn1_shift"))
    with pytest.raises(
        FileError, match=r"layer bn1, beta is not in the file, which has only bn0_beta"
    ):
        files.read(models.FILES["symbol-0000.params"].path, net=tmp_path / "net.json")


HUGE = 1 << 60


def test_a_header_of_params_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    """2^60 elements in a file of some bytes."""
    head = struct.pack("<QQQIiiqiii", 0x112, 0, 1, 0xF993FAC9, 0, 1, HUGE, 1, 0, 0)
    (tmp_path / "m.params").write_bytes(head)
    with pytest.raises(FileError, match=rf"array 0 has a header that claims {4 * HUGE}"):
        files.read(tmp_path / "m.params")


def test_a_blob_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    """Caffe's shape of 2^60 elements over six values."""
    data = models.FILES["c046m.caffemodel"].path.read_bytes()
    at = data.index(b":\x03\x0a\x01\x06")  # the blob's shape: one length, 6
    longer = b":\x0b\x0a\x09" + b"\x80" * 8 + b"\x10"
    message = data[: at + 5]
    blob = message.rindex(b":\x1f")  # the field before it: blobs, 31 bytes
    layer = data.index(b"\xa2\x06\x82\x01")
    new = bytearray(data)
    new[at : at + 5] = longer
    new[blob + 1] += len(longer) - 5
    new[layer + 2 : layer + 4] = bytes([0x82 + len(longer) - 5, 0x01])
    (tmp_path / "m.caffemodel").write_bytes(bytes(new))
    with pytest.raises(
        FileError, match=r"a header that claims \d{19} bytes, but the file has only 24"
    ):
        files.read(tmp_path / "m.caffemodel")


def test_an_npy_header_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    """Before anything is reserved for it."""
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({HUGE},), }}".encode()
    npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + bytes(12)
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("bn.running_var.npy", npy)
    with pytest.raises(FileError, match=rf"bn\.running_var.* a header that claims {4 * HUGE}"):
        files.read(tmp_path / "m.npz")


def test_an_array_of_objects_is_refused(tmp_path: Path) -> None:
    """It could be read by pickle alone."""
    np.savez(tmp_path / "m.npz", a=np.array([{}], dtype=object))
    with pytest.raises(FileError, match=r"a\.npy could run code when it is read: an array of obj"):
        files.read(tmp_path / "m.npz")


@pytest.mark.parametrize(
    "member", ["../a.npy", "/a.npy", "C:\\a.npy", "..\\a.npy", "b/../../a.npy"]
)
def test_a_member_that_leads_out_is_refused(member: str, tmp_path: Path) -> None:
    """Nothing is unpacked to the disk; such an archive is not to be trusted all the same."""
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr(member, b"")
    with pytest.raises(FileError, match=r"^m\.npz, member leads out of the file's folder"):
        files.read(tmp_path / "m.npz")


def test_a_member_that_unpacks_to_something_huge_is_refused(tmp_path: Path) -> None:
    """A thousand times its size."""
    with zipfile.ZipFile(tmp_path / "m.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(1 << 25))
    with pytest.raises(
        FileError, match=r"member a\.npy needs \d+ bytes of memory, and \d+ are left"
    ):
        files.read(tmp_path / "m.npz")


def test_code_in_a_pt_file_is_not_run(tmp_path: Path) -> None:
    """A whole module is pickled code, which torch.load with weights_only refuses too."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    torch.save(torch.nn.BatchNorm1d(3), tmp_path / "m.pt")
    with pytest.raises(FileError, match=r"^m\.pt could run code when it is read: .*BatchNorm1d"):
        files.read(tmp_path / "m.pt")


def test_a_tensor_that_repeats_one_value_without_end_is_refused(tmp_path: Path) -> None:
    """Strides of 0 make 2^40 elements of 4 bytes, which other formats would write out."""
    torch = pytest.importorskip("torch", reason="torch is not installed; make test has it")
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, tmp_path / "m.pt")
    with pytest.raises(FileError, match=rf"^m\.pt, a needs {(1 << 42) + OVERHEAD} bytes of memory"):
        files.read(tmp_path / "m.pt")


def external(folder: Path, location: str) -> Path:
    """An .onnx file whose first scale is said to be in another file."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed; make test has it")
    model = onnx.load(models.SAMPLES / "onnx.onnx")
    tensor = model.graph.initializer[0]
    entries = {"location": location, "offset": "4", "length": "20"}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    values = tensor.raw_data
    tensor.ClearField("raw_data")
    (folder / "weights.bin").write_bytes(b"....."[:4] + values)
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    return folder / "m.onnx"


@pytest.mark.parametrize("location", ["../w.bin", "/etc/passwd", "a/../../w.bin", "", "C:\\w.bin"])
def test_external_data_elsewhere_is_refused(location: str, tmp_path: Path) -> None:
    """A model has no business in other folders."""
    with pytest.raises(FileError, match=r"m\.onnx, layer norm0, scale leads out of"):
        files.read(external(tmp_path, location))


def test_external_data_behind_a_link_is_refused(tmp_path: Path) -> None:
    """A link beside the model that leads out of its folder is refused too."""
    inner = tmp_path / "inner"
    inner.mkdir()
    path = external(inner, "link.bin")
    (tmp_path / "secret.bin").write_bytes(bytes(24))
    (inner / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(FileError, match="layer norm0, scale leads out of"):
        files.read(path)


def test_external_data_beside_is_read(tmp_path: Path) -> None:
    """And written into the model, once it is changed."""
    model = files.read(external(tmp_path, "weights.bin"))
    want = files.read(models.SAMPLES / "onnx.onnx").layers[0].state["scale"]
    np.testing.assert_array_equal(model.layers[0].state["scale"], want, strict=True)
    first = replace(model.layers[0], state={**model.layers[0].state, "scale": want + 1})
    files.write(tmp_path / "n.onnx", replace(model, layers=(first, *model.layers[1:])))
    (tmp_path / "weights.bin").unlink()
    back = files.read(tmp_path / "n.onnx").layers[0].state["scale"]
    np.testing.assert_array_equal(back, want + 1, strict=True)


def test_external_data_is_not_left_behind(tmp_path: Path) -> None:
    """A model whose values are beside is not written to another folder."""
    model = files.read(external(tmp_path, "weights.bin"))
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(FileError, match=r"keeps its values in a file beside m\.onnx"):
        files.write(tmp_path / "elsewhere" / "m.onnx", model)


def test_external_data_that_is_too_short_is_refused(tmp_path: Path) -> None:
    """The model says how much there is."""
    path = external(tmp_path, "weights.bin")
    (tmp_path / "weights.bin").write_bytes(bytes(8))
    with pytest.raises(FileError, match=r"norm0, scale has a header that .* only 8 for it"):
        files.read(path)


def test_a_link_in_an_h5_file_is_refused(tmp_path: Path) -> None:
    """To another file, which HDF5 would open."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed; make test has it")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["bn"] = h5py.ExternalLink("other.h5", "/bn")
    with pytest.raises(FileError, match=r"^m\.h5, bn leads out of .*'ExternalLink'"):
        files.read(tmp_path / "m.h5")


def test_values_of_an_h5_file_in_another_file_are_refused(tmp_path: Path) -> None:
    """HDF5 can keep a dataset's bytes in any file of the machine."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed; make test has it")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("a", (3,), "f4", external=[(str(tmp_path / "x.bin"), 0, 12)])
    with pytest.raises(FileError, match=r"^m\.h5, a leads out of"):
        files.read(tmp_path / "m.h5")


def test_an_h5_dataset_that_claims_too_much_is_refused(tmp_path: Path) -> None:
    """Of 2^40 values none was ever written."""
    h5py = pytest.importorskip("h5py", reason="h5py is not installed; make test has it")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("a/running_var", (1 << 40,), "f4")
    model = files.read(tmp_path / "m.h5")
    assert model.others == {}
    assert "a/running_var is compressed or in pieces" in model.notes[-1]


def test_a_lambda_of_keras_is_not_run(tmp_path: Path) -> None:
    """The configuration is data: what it would call is not even looked at."""
    models.need("keras")
    old = zipfile.ZipFile(models.SAMPLES / "keras.keras")
    config = json.loads(old.read("config.json"))
    code = {"class_name": "__lambda__", "config": {"code": "aW1wb3J0IG9z"}}
    config["config"]["layers"].append({"class_name": "Lambda", "config": {"function": code}})
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as new:
        for member in old.namelist():
            content = old.read(member)
            new.writestr(member, json.dumps(config) if member == "config.json" else content)
    old.close()
    assert [layer.name for layer in files.read(tmp_path / "m.keras").layers] == [
        "first",
        "batch_normalization",
    ]


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    """Of an .onnx tensor: 99 stands for nothing."""
    onnx = pytest.importorskip("onnx", reason="onnx is not installed; make test has it")
    model = onnx.load(models.SAMPLES / "onnx.onnx")
    model.graph.initializer[0].data_type = 99
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(
        FileError, match=r"layer norm0, scale must have one of the dtypes .* got 99"
    ):
        files.read(tmp_path / "m.onnx")


def test_an_unknown_ending_is_refused(tmp_path: Path) -> None:
    """For a new file: all known ones are named."""
    model = files.ModelFile(tmp_path / "m.npz", "npz", (files.NormLayer("bn", "torch", STATE),))
    with pytest.raises(
        FileError, match=r"^The format of m\.bin .*Known endings are \.caffemodel, \.params, \.pt,"
    ):
        files.convert_model(model, tmp_path / "m.bin", "torch")


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    """By name as well."""
    with pytest.raises(UnknownNameError, match=r"^format must be one of .* Did you mean 'keras'"):
        files.read(tmp_path / "m.bin", format="kers")


def test_a_missing_file_is_an_error_of_ours(tmp_path: Path) -> None:
    """With the system's own words in it."""
    with pytest.raises(FileError, match=r"^m\.npz cannot be read: .*No such file"):
        files.read(tmp_path / "m.npz")


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to install."""
    monkeypatch.setitem(
        registry.FORMATS, "onnx", registry.Home("nowhere", (".onnx",), "no_such_library")
    )
    (tmp_path / "m.onnx").write_bytes(b"a")
    with pytest.raises(NotInstalledError, match=r"pip install 'backnorm\[files\]'"):
        files.read(tmp_path / "m.onnx")


def test_a_failed_write_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither half a file nor a temporary one, and the old file is as it was."""
    model = files.ModelFile(tmp_path / "m.npz", "npz", (files.NormLayer("bn", "torch", STATE),))
    (tmp_path / "m.npz").write_text("old")

    def refuse(*_: object) -> None:
        message = "no"
        raise OSError(message)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(FileError, match=r"m\.npz cannot be written"):
        files.write(tmp_path / "m.npz", model)
    assert [path.name for path in tmp_path.iterdir()] == ["m.npz"]
    assert (tmp_path / "m.npz").read_text() == "old"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Nothing is made on the way."""
    model = files.ModelFile(Path("m.npz"), "npz", ())
    with pytest.raises(FileError, match=r"m\.npz cannot be written"):
        files.write(tmp_path / "no" / "m.npz", model)
    assert list(tmp_path.iterdir()) == []


def test_an_array_of_another_shape_is_refused() -> None:
    """It would not fit in its place."""
    model = models.read("gluon.params")
    first = model.layers[0]
    wrong = replace(first, state={**first.state, "gamma": C})
    with pytest.raises(FileError, match=r"layer 0, gamma must fit .* got 3 values for 5"):
        files.write("never.params", replace(model, layers=(wrong,)))


def test_a_value_that_the_file_cannot_hold_is_refused(tmp_path: Path) -> None:
    """It would become infinite in float16."""
    arrays = {"bn.running_mean": C.astype(np.float16), "bn.running_var": C.astype(np.float16)}
    model = files.read(npz(tmp_path, **arrays))
    state = {**model.layers[0].state, "running_mean": np.full(3, 1e6, np.float32)}
    with pytest.raises(
        FileError, match=r"layer bn, running_mean must fit .* values too large for f"
    ):
        files.write(
            tmp_path / "n.npz", replace(model, layers=(replace(model.layers[0], state=state),))
        )


def test_a_format_refuses_layers_that_it_cannot_hold(tmp_path: Path) -> None:
    """An .h5 file is Keras's."""
    models.need("h5")
    with pytest.raises(FileError, match=r"^t\.h5 cannot hold layers of torch"):
        files.convert_model(models.read("gluon.params"), tmp_path / "t.h5", "torch")


def test_an_architecture_is_not_made_up(tmp_path: Path) -> None:
    """A .keras file needs one."""
    models.need("keras")
    model, _ = files.convert_model(models.read("gluon.params"), tmp_path / "t.keras", "keras")
    with pytest.raises(
        FileError, match=r"can be made only from another \.keras file.* Write an \.h5"
    ):
        files.write(tmp_path / "t.keras", model)


def test_a_loss_names_the_file_and_the_layer(tmp_path: Path) -> None:
    """The running variance of MXNet is biased, that of PyTorch is not."""
    with pytest.raises(ConversionError, match=r"^gluon\.params, layer 0, .* Pass n, "):
        files.convert_model(models.read("gluon.params"), tmp_path / "t.npz", "torch", strict=True)


def test_a_pattern_that_fits_no_layer_is_refused() -> None:
    """A misspelt name must not be passed over."""
    with pytest.raises(
        FileError,
        match=r"no normalization layer that matches 'bn5'. Its normalization layers: 0, 2",
    ):
        files.with_options(models.read("gluon.params"), [("bn5", "eps", 1e-3)])


def test_the_same_array_twice_is_refused(tmp_path: Path) -> None:
    """Nothing says which of two members of one name is meant."""
    stream = io.BytesIO()
    np.save(stream, C)
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("a.npy", stream.getvalue())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", stream.getvalue())
    with pytest.raises(FileError, match="members must have names that differ"):
        files.read(tmp_path / "m.npz")
