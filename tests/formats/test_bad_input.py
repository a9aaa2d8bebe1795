"""Input that can't be used: one line that says which file and what to do, and nothing written."""

from __future__ import annotations

import copy
import json
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper

from padaudit import api
from padaudit.errors import PadauditError

sys.path.insert(0, str(Path(__file__).parents[1]))
from command_line import run_command
from onnx_models import conv_model, model, weights

FIXTURES = Path(__file__).parents[2] / "fixtures"
QUIET = {"NO_COLOR": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "ORT_DISABLE_TELEMETRY": "1"}
FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SAME: dict[str, Any] = {"auto_pad": "SAME_UPPER", "strides": [3, 2]}


# --- files that are made to be refused ----------------------------------------------------


def truncated(name: str) -> Callable[[Path], Path]:
    """Return a maker of a fixture that was cut off."""

    def make(folder: Path) -> Path:
        data = (FIXTURES / name).read_bytes()
        path = folder / f"cut{Path(name).suffix}"
        path.write_bytes(data[: len(data) * 3 // 5])
        return path

    return make


def holding(name: str, data: bytes) -> Callable[[Path], Path]:
    """Return a maker of a file of some bytes."""

    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(data)
        return path

    return make


def archive(**members: bytes) -> Callable[[Path], Path]:
    """Return a maker of a zip; ``_`` in a member's name stands for a dot."""

    def make(folder: Path) -> Path:
        path = folder / "m.keras"
        with zipfile.ZipFile(path, "w") as file:
            for name, data in members.items():
                file.writestr(name.replace("_", "."), data)
        return path

    return make


def missing(folder: Path) -> Path:
    return folder / "missing.h5"


def empty_folder(folder: Path) -> Path:
    path = folder / "models"
    path.mkdir()
    (path / "notes.txt").write_text("no model here\n")
    return path


def weights_only(folder: Path) -> Path:
    path = folder / "m.weights.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([b"conv"])
        file.create_group("conv")["kernel:0"] = np.zeros((4, 3, 2, 5), np.float32)
    return path


def h5_without_model(folder: Path) -> Path:
    path = folder / "table.h5"
    with h5py.File(path, "w") as file:
        file["table"] = np.zeros((4, 3))
    return path


def h5_with_config(text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "m.h5"
        with h5py.File(path, "w") as file:
            file.attrs["model_config"] = text
        return path

    return make


def saved(proto: Callable[[], ModelProto]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "m.onnx"
        path.write_bytes(proto().SerializeToString())
        return path

    return make


def dangling() -> ModelProto:
    node = helper.make_node("Conv", ["nowhere", "w"], ["y"], "conv", **SAME)
    return model([node], {"x": (1, 2, 17, 14)}, [weights((4, 2, 4, 3))])


def cyclic() -> ModelProto:
    nodes = [
        helper.make_node("Conv", ["b", "w"], ["a"], "conv", **SAME),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Add", ["a", "x"], ["y"], "add"),
    ]
    return model(nodes, {"x": (1, 2, 17, 14)}, [weights((2, 2, 4, 3))])


def made_twice() -> ModelProto:
    nodes = [helper.make_node("Relu", ["x"], ["y"], f"relu{i}") for i in range(2)]
    return model(nodes, {"x": (1, 2, 17, 14)})


def external(location: str) -> Callable[[], ModelProto]:
    """Return a maker of a model whose weights are said to be elsewhere."""

    def make() -> ModelProto:
        proto = conv_model((17, 14), (4, 3), **SAME)
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        return proto

    return make


def functional(*layers: dict[str, Any], output: str = "conv") -> bytes:
    config = {
        "name": "m",
        "layers": list(layers),
        "input_layers": [["image", 0, 0]],
        "output_layers": [[output, 0, 0]],
    }
    return json.dumps({"class_name": "Functional", "config": config}).encode()


def layer(class_name: str, name: str, *sources: str, **config: Any) -> dict[str, Any]:
    return {
        "class_name": class_name,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": [[[source, 0, 0, {}] for source in sources]] if sources else [],
    }


IMAGE = layer("InputLayer", "image", batch_shape=[None, 17, 14, 2])
CONV: dict[str, Any] = {"filters": 4, "kernel_size": [4, 3], "strides": [3, 2], "padding": "same"}
LFS = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)

BAD: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (missing, "no such file"),
    "empty": (holding("m.h5", b""), "empty"),
    "truncated h5": (truncated("digits.h5"), "truncated or damaged"),
    "truncated keras": (truncated("digits.keras"), "truncated or damaged"),
    "truncated onnx": (truncated("auto-pad.onnx"), "truncated or damaged"),
    "text": (holding("m.onnx", b"# a model\nlayers: 3\n"), "text file"),
    "folder without models": (empty_folder, "folder"),
    "weights only": (weights_only, "weights without a model"),
    "h5 of something else": (h5_without_model, "no model"),
    "git-LFS pointer": (holding("m.keras", LFS), "git lfs pull"),
    "garbage of unknown suffix": (holding("m.bin", bytes(range(255, 0, -1))), "neither HDF5"),
    "garbage of known suffix": (holding("m.onnx", bytes(range(255, 0, -1))), "no ONNX model"),
    "onnx: dangling input": (saved(dangling), "nowhere"),
    "onnx: cycle": (saved(cyclic), "cycle"),
    "onnx: a tensor made twice": (saved(made_twice), "relu1"),
    "onnx: data in ..": (saved(external("../w.bin")), "outside"),
    "onnx: data in sub/../..": (saved(external("sub/../../w.bin")), "outside"),
    "onnx: data at an absolute path": (saved(external("/etc/hostname")), "outside"),
    "onnx: data at a Windows path": (saved(external("C:\\w.bin")), "outside"),
    "zip without config.json": (archive(metadata_json=b"{}"), "config.json"),
    "config.json is not JSON": (archive(config_json=b"{'a': 1"), "not valid JSON"),
    "config.json is not an object": (archive(config_json=b"[1, 2]"), "not an object"),
    "config.json is not text": (archive(config_json=b"\xff\xfe\x00\xd8"), "not valid JSON"),
    "config.json is nested deeply": (archive(config_json=b"[" * 200_000), "nested too deeply"),
    "config.json has no layers": (archive(config_json=b'{"class_name": "M"}'), "layers"),
    "model_config is not JSON": (h5_with_config("{"), "not valid JSON"),
    "keras: a missing layer": (
        archive(config_json=functional(IMAGE, layer("Conv2D", "conv", "gone", **CONV))),
        "gone",
    ),
    "keras: a missing output": (archive(config_json=functional(IMAGE, output="gone")), "gone"),
    "keras: a cycle": (
        archive(
            config_json=functional(
                IMAGE,
                layer("ReLU", "relu", "conv"),
                layer("Conv2D", "conv", "relu", **CONV),
            )
        ),
        "cycle",
    ),
}


COMMANDS = (["check"], ["rewrite", "--explicit"])


def start(*arguments: str | Path, folder: Path) -> subprocess.Popen[str]:
    """Start the command line in a folder."""
    command = [sys.executable, "-m", "padaudit", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **QUIET},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def listing(folder: Path) -> dict[str, bytes | None]:
    """Return everything below a folder with its content."""
    return {
        str(item.relative_to(folder)): item.read_bytes() if item.is_file() else None
        for item in sorted(folder.rglob("*"))
    }


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for a process, which must not take minutes."""
    output = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, *output)


def assert_refused(done: subprocess.CompletedProcess[str], *says: str) -> None:
    """Exit code 2, and one line that says what is wrong."""
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    for text in says:
        assert text in line
    assert "Traceback" not in line


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs the command line in this process, which is faster."""
    return partial(run_command, monkeypatch, capfd)


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line(case: str, tmp_path: Path, here: Any) -> None:
    make, says = BAD[case]
    path = make(tmp_path)
    before = listing(tmp_path)
    for command in COMMANDS:
        assert_refused(here(*command, path, cwd=tmp_path), str(path), says)
    assert listing(tmp_path) == before


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Return a model that nothing is wrong with."""
    path = tmp_path / "good.onnx"
    path.write_bytes(conv_model(("H", "W"), (4, 3), **SAME).SerializeToString())
    return path


BAD_OPTIONS: dict[str, tuple[list[str], list[str]]] = {
    "a shape of words": (["check", "--input-shape", "1,two,3"], ["--input-shape", "two"]),
    "a shape of nothing": (["check", "--input-shape", ""], ["--input-shape"]),
    "a size of zero": (["check", "--input-shape", "1,2,0,14"], ["--input-shape", "'0'"]),
    "an input that is not there": (
        ["check", "--input-shape", "image=1,2,17,14"],
        ["image", "good.onnx"],
    ),
    "a shape of another rank": (
        ["check", "--input-shape", "1,2,17"],
        ["good.onnx"],
    ),
    "an unknown rule in --select": (["check", "--select", "PAD999"], ["PAD999", "padaudit rules"]),
    "an unknown rule in --ignore": (["check", "--ignore", "E501"], ["E501", "padaudit rules"]),
    "a report into a missing folder": (
        ["check", "--output-format", "json", "--output-file", "none/r.json"],
        ["none/r.json"],
    ),
    "an output in a missing folder": (
        ["rewrite", "--explicit", "--verify", "none", "-o", "none/out.onnx"],
        ["none/out.onnx", "folder"],
    ),
    "an output of another format": (
        ["rewrite", "--explicit", "-o", "out.h5"],
        ["good.onnx", "out.h5"],
    ),
    "an output that is the input": (
        ["rewrite", "--explicit", "-o", "good.onnx"],
        ["good.onnx", "--in-place"],
    ),
    "a rewrite of nothing": (["rewrite"], ["--explicit"]),
    "no family at all": (
        ["rewrite", "--explicit", "--families", ","],
        ["--families"],
    ),
    "another size than the model's": (
        ["rewrite", "--explicit", "--verify", "none", "--input-shape", "1,3,17,15"],
        ["good.onnx", "'x'", "size 2", "gives 3"],
    ),
    "in place and elsewhere": (
        ["rewrite", "--explicit", "--in-place", "-o", "out.onnx"],
        ["--in-place", "--output"],
    ),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_options_are_refused_in_one_line(
    case: str, good: Path, tmp_path: Path, here: Any
) -> None:
    options, says = BAD_OPTIONS[case]
    before = listing(tmp_path)
    assert_refused(here(*options, "good.onnx", cwd=tmp_path), *says)
    assert listing(tmp_path) == before


def pipe(folder: Path) -> Path:
    path = folder / "pipe.onnx"
    os.mkfifo(path)
    return path


NO_FILES: dict[str, Callable[[Path], Path]] = {
    "a pipe": pipe,
    "a device": lambda _: Path("/dev/zero"),
    "the empty path": lambda _: Path(),
}


@pytest.mark.parametrize("case", NO_FILES)
def test_what_is_no_file_is_refused_at_once(case: str, tmp_path: Path) -> None:
    """A pipe that nobody writes to would be waited for, and a device has no end."""
    path = NO_FILES[case](tmp_path)
    before = sorted(tmp_path.iterdir())
    says = "folder" if case == "the empty path" else "pipe or device"
    done = ended(start("rewrite", "--explicit", path, folder=tmp_path))
    assert_refused(done, str(path), says)
    assert sorted(tmp_path.iterdir()) == before


def test_a_path_that_is_no_utf_8_is_audited_and_not_run(good: Path, tmp_path: Path) -> None:
    """onnxruntime takes paths as text."""
    odd = good.rename(tmp_path / "odd\udcff.onnx")
    assert_ends(start("check", "--exit-zero", odd.name, folder=tmp_path), 0)
    before = listing(tmp_path)
    assert_refused(ended(start("rewrite", "--explicit", odd.name, folder=tmp_path)), "UTF-8")
    assert listing(tmp_path) == before
    assert_ends(start("rewrite", "--explicit", "--verify", "site", odd.name, folder=tmp_path), 0)


def test_a_name_that_no_encoding_has_is_shown_with_escapes(tmp_path: Path) -> None:
    with h5py.File(FIXTURES / "digits.h5") as file:
        text = str(file.attrs["model_config"]).replace('"stem"', '"st\\ud800em"')
    path = h5_with_config(text)(tmp_path)
    output = assert_ends(start("check", "--exit-zero", path, folder=tmp_path), 0)
    assert "st\\ud800em" in output


def assert_ends(process: subprocess.Popen[str], code: int) -> str:
    done = ended(process)
    assert done.returncode == code, done.stderr
    assert not done.stderr
    return done.stdout


def test_one_bad_model_among_several_does_not_hide_the_others(good: Path, tmp_path: Path) -> None:
    holding("bad.onnx", b"\xff" * 99)(tmp_path)
    done = ended(start("check", "--output-format", "json", ".", folder=tmp_path))
    result = json.loads(done.stdout)
    assert done.returncode == 2
    assert [item["status"] for item in result["models"]] == ["error", "ok"]
    assert "bad.onnx" in result["models"][0]["error"]
    assert len(result["models"][1]["sites"]) == 1
    assert len(done.stderr.splitlines()) == 1


# --- anything at all ----------------------------------------------------------------------


def assert_checked_or_refused(path: Path) -> None:
    """The only way to fail is an error of padaudit's own, which names the file."""
    refusal = None
    try:
        report = api.check(path)
    except PadauditError as error:
        refusal = str(error)
    if refusal is not None:
        assert str(path) in refusal
        return
    assert report.format is not None
    assert len({site.id for site in report.sites}) == len(report.sites)


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Draw a change of some bytes, a cut, or both."""
    flips = draw(st.lists(st.tuples(st.floats(0, 0.9999), st.integers(1, 255)), max_size=5))
    keep = draw(st.one_of(st.just(1.0), st.floats(0, 1)))

    def apply(data: bytes) -> bytes:
        changed = bytearray(data)
        for place, value in flips:
            changed[int(place * len(changed))] ^= value
        return bytes(changed[: int(keep * len(changed))])

    return apply


def deflated() -> bytes:
    """Return the .keras fixture as another zip program would pack it."""
    from io import BytesIO

    buffer = BytesIO()
    with (
        zipfile.ZipFile(FIXTURES / "digits.keras") as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in ("metadata.json", "config.json"):
            new.writestr(name, old.read(name))
    return buffer.getvalue()


def test_names_that_are_not_utf_8_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    data = (FIXTURES / "auto-pad-nested.onnx").read_bytes()
    assert data.count(b"then_branch") == 1
    path.write_bytes(data.replace(b"then_branch", b"then\xffbranch"))
    assert_checked_or_refused(path)
    path.write_bytes(data.replace(b"call_1", b"call\xff1"))
    assert_checked_or_refused(path)


def small_h5() -> bytes:
    """Return an .h5 file that is mostly definition."""
    return (FIXTURES / "digits-keras1.h5").read_bytes()


FUZZED: dict[str, Callable[[], bytes]] = {
    "m.h5": (FIXTURES / "digits.h5").read_bytes,
    "small.h5": small_h5,
    "m.keras": (FIXTURES / "digits.keras").read_bytes,
    "deflated.keras": deflated,
    "m.onnx": (FIXTURES / "auto-pad.onnx").read_bytes,
    "nested.onnx": (FIXTURES / "auto-pad-nested.onnx").read_bytes,
}


@pytest.mark.parametrize("name", FUZZED)
def test_damaged_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    original = FUZZED[name]()
    path = tmp_path / name

    @FUZZ
    @given(change=damage())
    def run(change: Callable[[bytes], bytes]) -> None:
        path.write_bytes(change(original))
        assert_checked_or_refused(path)

    run()


def test_a_damaged_deflate_stream_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    data = bytearray(deflated())
    with zipfile.ZipFile(FIXTURES / "digits.keras") as old:
        packed = zlib.compress(old.read("config.json"))
    assert len(packed) > 100
    at = data.index(b"config.json") + len(b"config.json") + 20
    data[at : at + 30] = b"\xff" * 30
    path.write_bytes(data)
    with pytest.raises(PadauditError, match="truncated or damaged"):
        api.check(path)


def test_a_lying_zip_header_does_not_make_it_read_more(tmp_path: Path) -> None:
    path = tmp_path / "m.keras"
    data = bytearray(deflated())
    entry = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, entry + 24, 2**31)
    path.write_bytes(data)
    with pytest.raises(PadauditError, match=r"m\.keras"):
        api.check(path)


JSON_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**12),
    st.floats(),
    st.text(max_size=6),
    st.lists(st.integers(-2, 4), max_size=4),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every value inside a JSON value."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def keras_configs() -> dict[str, dict[str, Any]]:
    with zipfile.ZipFile(FIXTURES / "digits.keras") as file:
        configs = {"keras 3": json.loads(file.read("config.json"))}
    for label, name in {
        "keras 2": "digits-keras2.h5",
        "keras 2 sequential": "digits-keras2-sequential.h5",
        "keras 1": "digits-keras1-th.h5",
    }.items():
        with h5py.File(FIXTURES / name) as file:
            configs[label] = json.loads(file.attrs["model_config"])
    return configs


@pytest.mark.parametrize("dialect", ["keras 3", "keras 2", "keras 2 sequential", "keras 1"])
def test_configs_with_wrong_values_are_read_or_refused(dialect: str, tmp_path: Path) -> None:
    original = keras_configs()[dialect]
    where = list(places(original))
    path = tmp_path / "m.keras"

    @FUZZ
    @given(place=st.sampled_from(where), value=JSON_VALUES, remove=st.booleans())
    def run(place: tuple[str | int, ...], value: Any, remove: bool) -> None:
        config = copy.deepcopy(original)
        holder = config
        for step in place[:-1]:
            holder = holder[step]  # type: ignore[index]
        if remove:
            del holder[place[-1]]  # type: ignore[arg-type]
        else:
            holder[place[-1]] = value  # type: ignore[index]
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("config.json", json.dumps(config))
        assert_checked_or_refused(path)

    run()


WRONG: dict[str, tuple[str, tuple[str | int, ...], Any]] = {
    "a config that is a number": ("keras 3", ("config", "layers", 0, "config"), -1),
    "arguments that are a number": (
        "keras 3",
        ("config", "layers", 1, "inbound_nodes", 0, "args"),
        7,
    ),
    "keywords that are a number": (
        "keras 3",
        ("config", "layers", 1, "inbound_nodes", 0, "kwargs"),
        -1,
    ),
    "a size that is an object": (
        "keras 3",
        ("config", "layers", 0, "config", "batch_shape", 1),
        {"a": 1},
    ),
    "a size that is text": (
        "keras 2",
        ("config", "layers", 0, "config", "batch_input_shape", 1),
        "x",
    ),
    "filters that are no whole number": (
        "keras 3",
        ("config", "layers", 7, "config", "filters"),
        1.5,
    ),
    "a call number that is an object": (
        "keras 2",
        ("config", "layers", 1, "inbound_nodes", 0, 0, 1),
        {"a": 1},
    ),
    "a call number that is nothing": (
        "keras 2",
        ("config", "layers", 1, "inbound_nodes", 0, 0, 1),
        None,
    ),
    "a stride of zero": ("keras 3", ("config", "layers", 1, "config", "strides", 1), 0),
    "a stride of zero of a pool": (
        "keras 2 sequential",
        ("config", "layers", 2, "config", "strides", 0),
        0,
    ),
    "a layout that is an object": (
        "keras 1",
        ("config", "layers", 2, "config", "dim_ordering"),
        {},
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_config_with_a_wrong_value_is_read_or_refused(case: str, tmp_path: Path) -> None:
    dialect, place, value = WRONG[case]
    config: Any = keras_configs()[dialect]
    holder = config
    for step in place[:-1]:
        holder = holder[step]
    assert holder[place[-1]] != value
    holder[place[-1]] = value
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(config))
    assert_checked_or_refused(path)


@pytest.mark.parametrize("name", ["auto-pad.onnx", "auto-pad-nested.onnx"])
def test_graphs_with_wrong_parts_are_read_or_refused(name: str, tmp_path: Path) -> None:
    original = onnx.load(FIXTURES / name)
    path = tmp_path / name
    attributes = st.one_of(
        st.integers(-3, 10**12),
        st.text(max_size=5),
        st.lists(st.integers(-2, 5), min_size=1, max_size=5),
        st.floats(allow_nan=False),
    )

    @FUZZ
    @given(
        node=st.integers(0, 99),
        key=st.sampled_from(["auto_pad", "pads", "strides", "dilations", "kernel_shape", "group"]),
        value=attributes,
        dims=st.lists(st.integers(-1, 5), max_size=5),
        change=st.sampled_from(["attribute", "dims", "input", "drop", "op"]),
    )
    def run(node: int, key: str, value: Any, dims: list[int], change: str) -> None:
        proto = ModelProto()
        proto.CopyFrom(original)
        chosen = proto.graph.node[node % len(proto.graph.node)]
        if change == "attribute":
            kept = [item for item in chosen.attribute if item.name != key]
            del chosen.attribute[:]
            chosen.attribute.extend([*kept, helper.make_attribute(key, value)])
        elif change == "dims":
            tensor = proto.graph.initializer[node % len(proto.graph.initializer)]
            del tensor.dims[:]
            tensor.dims.extend(dims)
        elif change == "input" and chosen.input:
            chosen.input[node % len(chosen.input)] = str(value)
        elif change == "drop":
            del chosen.input[:]
        else:
            chosen.op_type, chosen.domain = "ConvTranspose", str(value)
        path.write_bytes(proto.SerializeToString())
        assert_checked_or_refused(path)

    run()
