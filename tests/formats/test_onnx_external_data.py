"""Weights in other files: used from the model's folder, never opened by check, else refused."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import padaudit
from padaudit.errors import InputError, PadauditError

sys.path.insert(0, str(Path(__file__).parent))
import onnx_bytes as ob
from onnx_bytes import attribute, conv, external, graph, model, node, rec, tensor, weight

VALUES = [float(index * 7 % 9 - 4) for index in range(4 * 2 * 4 * 3)]
DATA = struct.pack(f"<{len(VALUES)}f", *VALUES)
"""The 384 bytes of a ``(4, 2, 4, 3)`` float tensor."""
STYLES = ("pad", "attrs")


def run(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "padaudit", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_one_error(done: subprocess.CompletedProcess[str], *says: str) -> None:
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    for text in says:
        assert text in line


def listing(folder: Path) -> dict[str, bytes | str | None]:
    """Return everything below a folder with its content; links with where they lead."""
    found: dict[str, bytes | str | None] = {}
    for item in sorted(folder.rglob("*")):
        name = str(item.relative_to(folder))
        if item.is_symlink():
            found[name] = str(item.readlink())
        else:
            found[name] = item.read_bytes() if item.is_file() else None
    return found


def refusal(path: Path) -> str:
    """Return the sentence that `check` refuses a model with; `rewrite` refuses it as well."""
    before = listing(path.parent)
    with pytest.raises(InputError) as rewriting:
        padaudit.rewrite(path, path.with_name("out.onnx"), verify="none")
    assert str(path) in str(rewriting.value)
    assert listing(path.parent) == before
    with pytest.raises(InputError) as caught:
        padaudit.check(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def saved(folder: Path, content: bytes, name: str = "m.onnx") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def one_conv(weights: bytes, *graph_extra: bytes) -> bytes:
    return model(graph([conv()], [weights], *graph_extra))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a model's folder; what is beside it is outside."""
    path = tmp_path / "model"
    path.mkdir()
    (tmp_path / "outside.bin").write_bytes(DATA)
    return path


# --- data that is where it should be ------------------------------------------------------

GOOD = {
    "beside it": "w.bin",
    "in a subfolder": "data/w.bin",
    "deeper": "data/more/w.bin",
    "name with a space and dots": "a b.c.d",
    "name beyond ASCII": "gewichte-\N{LATIN SMALL LETTER A WITH DIAERESIS}.bin",
    "with a dot step": "./w.bin",
}


def good_model(folder: Path, location: str, offset: int = 0) -> Path:
    """Write a model, and its weights at an offset of the data file."""
    data = folder / location
    data.parent.mkdir(parents=True, exist_ok=True)
    data.write_bytes(b"\xaa" * offset + DATA + b"\xbb" * 40)
    place = {"location": location, "offset": str(offset), "length": str(len(DATA))}
    return saved(folder, one_conv(external("w", **place)))


def loaded(path: Path) -> dict[str, Any]:
    """Return the values of a model's initializers as onnx reads them, external ones included."""
    return {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("case", GOOD)
def test_output_in_the_same_folder_uses_the_same_data(case: str, style: str, folder: Path) -> None:
    path = good_model(folder, GOOD[case], offset=64)
    (site,) = padaudit.check(path).sites
    assert tuple(site.window.kernel_shape) == (4, 3)
    before = listing(folder)
    target = folder / "out.onnx"
    result = padaudit.rewrite(path, target, style=style, verify="none")
    assert result.written
    after = listing(folder)
    assert after.pop("out.onnx") is not None
    assert after == before
    added = ob.compare(path.read_bytes(), target.read_bytes(), {"conv"})
    ob.assert_only_nodes_and_constants(added)
    np.testing.assert_array_equal(loaded(target)["w"].ravel(), VALUES)


def test_the_rewritten_model_is_proven_with_its_data(folder: Path) -> None:
    """Not only the site alone: whole models run, so both find the data."""
    for location in ("w.bin", "data/w.bin"):
        path = good_model(folder, location, offset=4096)
        result = padaudit.rewrite(path, folder / "out.onnx", verify="model")
        assert result.written
        assert result.verification.status.value == "equivalent"
        assert {item.name for item in folder.iterdir()} <= {"m.onnx", "out.onnx", "w.bin", "data"}


def test_without_offset_and_length_the_file_is_the_tensor(folder: Path) -> None:
    (folder / "w.bin").write_bytes(DATA)
    path = saved(folder, one_conv(external("w", location="w.bin")))
    assert len(padaudit.check(path).sites) == 1
    assert padaudit.rewrite(path, folder / "out.onnx", verify="none").written
    np.testing.assert_array_equal(loaded(folder / "out.onnx")["w"].ravel(), VALUES)


def test_a_checksum_and_unknown_entries_stay(folder: Path) -> None:
    """The ONNX specification knows ``checksum``; others may come."""
    (folder / "w.bin").write_bytes(DATA)
    entries = {"checksum": "0" * 40, "location": "w.bin", "future": "1"}
    path = saved(folder, one_conv(external("w", **entries)))
    padaudit.rewrite(path, folder / "out.onnx", verify="none")
    found = ob.all_of((folder / "out.onnx").read_bytes(), "tensor")
    assert external("w", **entries) in found


def test_two_tensors_may_share_the_same_bytes(folder: Path) -> None:
    """Tied weights: the same extent twice is no overlap."""
    path = good_model(folder, "w.bin")
    place = {"location": "w.bin", "offset": "0", "length": str(len(DATA))}
    twin = rec(5, external("twin", (96,), **place))
    saved(folder, one_conv(external("w", **place), twin))
    assert len(padaudit.check(path).sites) == 1
    assert padaudit.rewrite(path, folder / "out.onnx", verify="none").written


def test_types_smaller_than_a_byte_are_packed(folder: Path) -> None:
    """Three 4-bit numbers are two bytes (type 22 is INT4)."""
    (folder / "w.bin").write_bytes(DATA + b"\x12\x03")
    small = external("small", (3,), 22, location="w.bin", offset=str(len(DATA)), length="2")
    big = external("w", location="w.bin", offset="0", length=str(len(DATA)))
    path = saved(folder, one_conv(big, rec(5, small)))
    assert len(padaudit.check(path).sites) == 1


def test_values_in_the_model_need_no_entries(folder: Path) -> None:
    """Only data_location says that data is elsewhere; stray entries mean nothing."""
    stray = rec(13, ob.entry("location", "w.bin"))
    path = saved(folder, one_conv(weight() + stray + rec(14, 0)))
    assert len(padaudit.check(path).sites) == 1
    padaudit.rewrite(path, folder / "out.onnx", verify="none")
    added = ob.compare(path.read_bytes(), (folder / "out.onnx").read_bytes(), {"conv"})
    ob.assert_only_nodes_and_constants(added)


# --- the audit doesn't open it ------------------------------------------------------------

AUDITED = """
import sys
opened = []
sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))
import padaudit
report = padaudit.check(sys.argv[1])
assert [site.implicit for site in report.sites] == [True]
assert any(name.endswith("m.onnx") for name in opened), opened
assert not any(name.endswith(".bin") for name in opened), opened
lines = open("/proc/self/status").read().splitlines() if sys.platform == "linux" else []
peak = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
assert not peak or peak[0] < 150 * 1024, peak
"""


def test_check_works_without_the_data(folder: Path) -> None:
    path = saved(folder, one_conv(external("w", location="w.bin", offset="0", length="384")))
    (site,) = padaudit.check(path).sites
    assert site.implicit
    assert tuple(site.window.kernel_shape) == (4, 3)


def test_check_does_not_open_the_data(folder: Path) -> None:
    """Three gigabytes of data (a sparse file): not opened, and no memory taken."""
    size = 3 << 30
    with (folder / "w.bin").open("wb") as file:
        file.truncate(size)
    big = external(
        "big", (size // 4 - 1024,), location="w.bin", offset="4096", length=str(size - 4096)
    )
    small = external("w", location="w.bin", offset="0", length="384")
    path = saved(folder, one_conv(small, rec(5, big)))
    done = subprocess.run(
        [sys.executable, "-c", AUDITED, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_pipe_does_not_block(folder: Path) -> None:
    """Opening a FIFO would wait forever; it may be refused, or left alone."""
    os.mkfifo(folder / "w.bin")
    path = saved(folder, one_conv(external("w", location="w.bin", offset="0", length="384")))
    for arguments in (["check"], ["rewrite", "--explicit", "--verify", "none", "-o", "out.onnx"]):
        done = run(*arguments, path, folder=folder)
        assert "Traceback" not in done.stderr
        assert done.returncode in (0, 1, 2)
        if done.returncode == 2:
            assert_one_error(done, str(path))


# --- into another folder ------------------------------------------------------------------


def test_another_folder_needs_a_copy_of_the_data(folder: Path, tmp_path: Path) -> None:
    path = good_model(folder, "data/w.bin", offset=4096)
    other = tmp_path / "other"
    other.mkdir()
    target = other / "out.onnx"
    command = ["rewrite", "--explicit", "--verify", "site", path, "-o", target]
    assert_one_error(run(*command, folder=folder), str(path), "copy")
    assert listing(other) == {}
    done = run(*command, "--copy-data", folder=folder)
    assert done.returncode == 0, done.stderr
    written = listing(other)
    assert written.keys() == {"out.onnx", "data", "data/w.bin"}
    assert written["data/w.bin"] == (folder / "data/w.bin").read_bytes()
    np.testing.assert_array_equal(loaded(target)["w"].ravel(), VALUES)
    ob.assert_only_nodes_and_constants(ob.compare(path.read_bytes(), target.read_bytes(), {"conv"}))


def test_the_copy_is_there_before_the_proof_of_the_whole(folder: Path, tmp_path: Path) -> None:
    path = good_model(folder, "w.bin")
    other = tmp_path / "other"
    other.mkdir()
    result = padaudit.rewrite(path, other / "out.onnx", verify="model", copy_data=True)
    assert result.verification.status.value == "equivalent"
    assert listing(other).keys() == {"out.onnx", "w.bin"}


def test_copied_data_may_be_of_several_files_and_places(folder: Path, tmp_path: Path) -> None:
    """Initializers, Constants, bodies, functions: whatever names a file needs that file."""
    for place, make in PLACES.items():
        name = f"{place.replace(' ', '-')}.bin"
        (folder / name).write_bytes(DATA)
        path = saved(folder, make(external("far", (96,), location=name)))
        other = tmp_path / name
        other.mkdir()
        with pytest.raises(PadauditError, match=r"m\.onnx"):
            padaudit.rewrite(path, other / "out.onnx", verify="none")
        assert listing(other) == {}
        padaudit.rewrite(path, other / "out.onnx", verify="none", copy_data=True)
        assert listing(other).keys() == {"out.onnx", name}, place
        assert (other / name).read_bytes() == DATA


def test_a_missing_data_file_can_not_be_copied(folder: Path, tmp_path: Path) -> None:
    path = saved(folder, one_conv(external("w", location="w.bin", offset="0", length="384")))
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match=r"w\.bin"):
        padaudit.rewrite(path, other / "out.onnx", verify="none", copy_data=True)
    assert listing(other) == {}


def test_a_copy_does_not_replace_another_file(folder: Path, tmp_path: Path) -> None:
    """The other folder has a file of that name: it may be another model's data."""
    path = good_model(folder, "w.bin")
    other = tmp_path / "other"
    other.mkdir()
    (other / "w.bin").write_bytes(b"of another model")
    try:
        padaudit.rewrite(path, other / "out.onnx", verify="none", copy_data=True)
    except PadauditError:
        assert listing(other) == {"w.bin": b"of another model"}
        return
    assert (other / "w.bin").read_bytes() == b"of another model"
    np.testing.assert_array_equal(loaded(other / "out.onnx")["w"].ravel(), VALUES)


def test_a_copy_does_not_leave_the_other_folder(folder: Path, tmp_path: Path) -> None:
    """The output's folder has a link, where the model's has a subfolder."""
    path = good_model(folder, "data/w.bin")
    other, elsewhere = tmp_path / "other", tmp_path / "elsewhere"
    other.mkdir()
    elsewhere.mkdir()
    (other / "data").symlink_to(elsewhere)
    try:
        padaudit.rewrite(path, other / "out.onnx", verify="none", copy_data=True)
    except PadauditError:
        assert not (other / "out.onnx").exists()
    assert listing(elsewhere) == {}


def test_a_copy_into_the_same_folder_is_no_copy(folder: Path) -> None:
    path = good_model(folder, "w.bin")
    before = listing(folder)
    padaudit.rewrite(path, folder / "out.onnx", verify="none", copy_data=True)
    assert listing(folder).keys() == {*before, "out.onnx"}
    assert (folder / "w.bin").read_bytes() == before["w.bin"]


# --- every place that can name a file -----------------------------------------------------


def in_initializer(item: bytes) -> bytes:
    return one_conv(weight(), rec(5, item))


def in_unused_input(item: bytes) -> bytes:
    """The same, where an input of that name is declared (ir_version 3)."""
    inputs = [ob.INPUT, ob.value_info("w", (4, 2, 4, 3)), ob.value_info("far", (96,))]
    return model(graph([conv()], [weight(), item], inputs=inputs), ir_version=3)


def in_constant(item: bytes) -> bytes:
    constant = node("Constant", [], ["k"], attribute("value", t=item), name="k")
    return model(graph([constant, conv()], [weight()]))


def in_list(item: bytes) -> bytes:
    custom = node("Custom", ["x"], ["k"], attribute("many", tensors=[item]), name="k", domain="my")
    return model(graph([custom, conv()], [weight()]), rec(8, rec(1, "my") + rec(2, 1)))


def in_the_padded_node(item: bytes) -> bytes:
    return model(graph([conv("x", "y", attribute("extra", t=item))], [weight()]))


AT = tensor("at", (96,), ob.INT64, ob.packed(7, range(96)))


def _sparse(values: bytes, indices: bytes = AT) -> bytes:
    return ob.message(ob.SPARSE, values=values, indices=indices, dims=[200])


def in_sparse_initializer(item: bytes) -> bytes:
    return one_conv(weight(), rec(15, _sparse(item)))


def in_sparse_indices(item: bytes) -> bytes:
    values = tensor("values", (96,), raw_data=DATA)
    return one_conv(weight(), rec(15, _sparse(values, item)))


def in_sparse_attribute(item: bytes) -> bytes:
    value = attribute("sparse_value", sparse_tensor=_sparse(item))
    return model(graph([node("Constant", [], ["k"], value, name="k"), conv()], [weight()]))


def in_sparse_list(item: bytes) -> bytes:
    value = attribute("many", sparse_tensors=[_sparse(item)])
    custom = node("Custom", ["x"], ["k"], value, name="k", domain="my")
    return model(graph([custom, conv()], [weight()]), rec(8, rec(1, "my") + rec(2, 1)))


def _if(body_nodes: list[bytes], *weights: bytes) -> bytes:
    then = graph([*body_nodes, node("Identity", ["x"], ["t"])], weights, inputs=[], outputs=["t"])
    other = graph([node("Identity", ["x"], ["e"])], inputs=[], outputs=["e"])
    branches = (attribute("then_branch", g=then), attribute("else_branch", g=other))
    return node("If", ["c"], ["u"], *branches, name="if")


CONDITION = tensor("c", (), 9, int32_data=[1])


def in_body(item: bytes) -> bytes:
    return model(graph([_if([], item), conv()], [weight(), CONDITION]))


def in_body_of_a_body(item: bytes) -> bytes:
    inner = _if([node("Constant", [], ["k"], attribute("value", t=item), name="k")])
    return model(graph([_if([inner]), conv()], [weight(), CONDITION]))


def in_list_of_bodies(item: bytes) -> bytes:
    body = graph([], [item], inputs=[], outputs=[])
    custom = node("Custom", ["x"], ["k"], attribute("many", graphs=[body]), name="k", domain="my")
    return model(graph([custom, conv()], [weight()]), rec(8, rec(1, "my") + rec(2, 1)))


def _with_function(nodes: list[bytes], **parts: Any) -> bytes:
    body = ob.message(
        ob.FUNCTION, name="f", input="a", output="b", node=nodes, opset_import=rec(2, 17),
        domain="local", **parts,
    )  # fmt: skip
    call = node("f", ["x"], ["u"], name="call", domain="local")
    imports = rec(8, rec(1, "local") + rec(2, 1))
    return model(graph([call, conv()], [weight()]), rec(25, body), imports)


def in_function(item: bytes) -> bytes:
    constant = node("Constant", [], ["k"], attribute("value", t=item), name="k")
    return _with_function([constant, node("Identity", ["a"], ["b"])])


def in_function_default(item: bytes) -> bytes:
    return _with_function(
        [node("Identity", ["a"], ["b"])], attribute_proto=attribute("value", t=item)
    )


def _with_training(**steps: bytes) -> bytes:
    return model(graph([conv()], [weight()]), rec(20, ob.message(ob.TRAINING, **steps)))


def in_training_initialization(item: bytes) -> bytes:
    return _with_training(initialization=graph([], [item], inputs=[], outputs=[]))


def in_training_algorithm(item: bytes) -> bytes:
    constant = node("Constant", [], ["k"], attribute("value", t=item), name="k")
    return _with_training(algorithm=graph([constant], inputs=[], outputs=["k"]))


PLACES: dict[str, Callable[[bytes], bytes]] = {
    "initializer": in_initializer,
    "initializer of an input": in_unused_input,
    "Constant": in_constant,
    "list of tensors": in_list,
    "attribute of the padded node": in_the_padded_node,
    "sparse values": in_sparse_initializer,
    "sparse indices": in_sparse_indices,
    "sparse attribute": in_sparse_attribute,
    "list of sparse tensors": in_sparse_list,
    "body": in_body,
    "body of a body": in_body_of_a_body,
    "list of bodies": in_list_of_bodies,
    "function": in_function,
    "default of a function": in_function_default,
    "training initialization": in_training_initialization,
    "training algorithm": in_training_algorithm,
}


@pytest.mark.parametrize("place", PLACES)
def test_data_in_the_folder_is_fine_in_every_place(place: str, folder: Path) -> None:
    """The counterpart of the refusals below: the models themselves are readable."""
    (folder / "w.bin").write_bytes(DATA)
    path = saved(folder, PLACES[place](external("far", (96,), location="w.bin")))
    assert any(site.implicit for site in padaudit.check(path).sites)
    assert padaudit.rewrite(path, folder / "out.onnx", verify="none").written
    added = ob.compare(path.read_bytes(), (folder / "out.onnx").read_bytes(), {"conv"})
    ob.assert_only_nodes_and_constants(added)


BAD_LOCATIONS: dict[str, str | bytes] = {
    "absolute": "/etc/hostname",
    "parent": "../outside.bin",
    "parent in the middle": "data/../../outside.bin",
    "parent that comes back": "../model/w.bin",
    "drive letter": "C:\\w.bin",
    "drive letter, relative": "C:w.bin",
    "drive letter, slash": "C:/w.bin",
    "backslashes": "data\\w.bin",
    "backslashes to the parent": "..\\outside.bin",
    "network share": "\\\\host\\share\\w.bin",
    "device": "/dev/zero",
    "NUL": "w.bin\x00.txt",
    "empty": "",
    "the folder itself": ".",
    "a folder": "data",
    "a folder with a slash": "data/",
    "not UTF-8": b"w\xff.bin",
    "parent and a line break": "../w\nerror: x.bin",
    "too long": "w" * 5000,
    "home": "~/../../etc/hostname/../..",
}


@pytest.mark.parametrize("case", BAD_LOCATIONS)
def test_data_elsewhere_is_refused(case: str, folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "w.bin").write_bytes(DATA)
    (folder / "w.bin").write_bytes(DATA)
    path = saved(folder, in_initializer(external("far", (96,), location=BAD_LOCATIONS[case])))
    assert case == "not UTF-8" or "far" in refusal(path)
    refusal(path)


@pytest.mark.parametrize("place", PLACES)
def test_data_elsewhere_is_refused_in_every_place(place: str, folder: Path) -> None:
    for location in ("../outside.bin", "/etc/hostname", "a\\b.bin", "C:\\w.bin", ""):
        for tensor_name in ("far", "far " + "long " * 1000):
            item = external(tensor_name, (96,), location=location)
            message = refusal(saved(folder, PLACES[place](item)))
            assert "far" in message, location


@pytest.mark.parametrize("place", PLACES)
def test_links_out_of_the_folder_are_refused_in_every_place(place: str, folder: Path) -> None:
    (folder / "w.bin").symlink_to(folder.parent / "outside.bin")
    path = saved(folder, PLACES[place](external("far", (96,), location="w.bin")))
    assert "far" in refusal(path)


def symbolic_link(folder: Path) -> str:
    (folder / "w.bin").symlink_to(folder.parent / "outside.bin")
    return "w.bin"


def relative_link(folder: Path) -> str:
    (folder / "w.bin").symlink_to("../outside.bin")
    return "w.bin"


def link_to_a_link(folder: Path) -> str:
    (folder / "v.bin").symlink_to(folder.parent / "outside.bin")
    (folder / "w.bin").symlink_to("v.bin")
    return "w.bin"


def dangling_link(folder: Path) -> str:
    (folder / "w.bin").symlink_to(folder.parent / "nowhere.bin")
    return "w.bin"


def circular_link(folder: Path) -> str:
    (folder / "w.bin").symlink_to("w.bin")
    return "w.bin"


def linked_folder(folder: Path) -> str:
    (folder / "data").symlink_to(folder.parent)
    return "data/outside.bin"


def hard_link(folder: Path) -> str:
    (folder / "w.bin").hardlink_to(folder.parent / "outside.bin")
    return "w.bin"


LINKS = [
    symbolic_link, relative_link, link_to_a_link, dangling_link, circular_link, linked_folder,
    hard_link,
]  # fmt: skip


@pytest.mark.parametrize("make", LINKS)
def test_links_out_of_the_folder_are_refused(make: Callable[[Path], str], folder: Path) -> None:
    path = saved(folder, in_initializer(external("far", (96,), location=make(folder))))
    assert "far" in refusal(path)


def test_the_command_says_which_tensor(folder: Path, tmp_path: Path) -> None:
    """Both commands, one sentence, nothing written, also not with a copy of the data."""
    path = saved(folder, in_function(external("far", (96,), location="../outside.bin")))
    before = listing(tmp_path)
    assert_one_error(run("check", path, folder=folder), str(path), "far", "outside.bin")
    for extra in ([], ["--copy-data"], ["--verify", "none"]):
        done = run("rewrite", "--explicit", *extra, path, "-o", "out.onnx", folder=folder)
        assert_one_error(done, str(path), "far")
    assert listing(tmp_path) == before


def test_one_bad_tensor_among_many_is_found(folder: Path) -> None:
    (folder / "w.bin").write_bytes(DATA * 60)
    many = [
        rec(
            5, external(f"t{index}", (96,), location="w.bin", offset=str(index * 384), length="384")
        )
        for index in range(60)
    ]
    bad = rec(5, external("far", (96,), location="../outside.bin"))
    path = saved(folder, one_conv(weight(), *many))
    assert len(padaudit.check(path).sites) == 1
    path = saved(folder, one_conv(weight(), *many[:30], bad, *many[30:]))
    assert "far" in refusal(path)


# --- ways to slip by ----------------------------------------------------------------------


def test_the_last_of_two_locations_does_not_hide_the_first(folder: Path) -> None:
    """Readers differ in which of two entries of one key they take; neither may be outside."""
    (folder / "w.bin").write_bytes(DATA)
    for order in (("w.bin", "../outside.bin"), ("../outside.bin", "w.bin")):
        entries = b"".join(rec(13, ob.entry("location", item)) for item in order)
        item = tensor("far", (96,), ob.FLOAT, entries, rec(14, 1))
        assert "far" in refusal(saved(folder, in_initializer(item)))


def test_a_padded_out_tensor_is_looked_at_as_well(folder: Path) -> None:
    """More than 4096 bytes of names or stale values around the location."""
    place = rec(13, ob.entry("location", "../outside.bin")) + rec(14, 1)
    for filler in ({"doc_string": "d" * 9000}, {"raw_data": bytes(9000)}):
        for parts in ((place,), (rec(60, b"f" * 5000), place, rec(61, b"f" * 5000))):
            item = tensor("far", (96,), ob.FLOAT, *parts, **filler)
            for make in (in_initializer, in_constant, in_sparse_indices, in_function_default):
                assert "far" in refusal(saved(folder, make(item)))


@pytest.mark.parametrize("value", ["0:10", "5:3", "-1:4", "x", "", ":", "0:9999999999999", "1:2:3"])
def test_a_reference_of_padaudit_itself_can_not_be_forged(value: str, folder: Path) -> None:
    """Inside, a large tensor becomes a reference to its bytes; a file may not bring one."""
    key = "padaudit.bytes"
    for extra in ({}, {"location": "../outside.bin"}, {"location": "/etc/hostname"}):
        item = external("far", (96,), **{key: value}, **extra)
        for make in (in_initializer, in_constant):
            assert "far" in refusal(saved(folder, make(item)))
    (folder / "w.bin").write_bytes(DATA)
    for order in ((key, "location"), ("location", key)):
        entries = {key: value, "location": "w.bin"}
        item = external("far", (96,), **{name: entries[name] for name in order})
        path = saved(folder, in_initializer(item))
        try:
            padaudit.rewrite(path, folder / "out.onnx", verify="none")
        except InputError:
            assert not (folder / "out.onnx").exists()
        else:
            assert item in ob.all_of((folder / "out.onnx").read_bytes(), "tensor")
            (folder / "out.onnx").unlink()


def test_a_location_in_two_halves_of_a_tensor_is_found(folder: Path) -> None:
    """Protobuf merges the two records of a singular message field."""
    first = rec(5, tensor("far", (96,), raw_data=DATA))
    second = rec(5, rec(14, 1) + rec(13, ob.entry("location", "../outside.bin")))
    value = rec(1, "value") + first + second + rec(20, 4)
    constant = node("Constant", [], ["k"], value, name="k")
    refusal(saved(folder, model(graph([constant, conv()], [weight()]))))


def test_an_untyped_attribute_hides_nothing(folder: Path) -> None:
    """The type says "int" or nothing, and the tensor is there all the same."""
    item = external("far", (96,), location="../outside.bin")
    for kind in (b"", rec(20, 2), rec(20, 0)):
        value = rec(1, "value") + rec(5, item) + kind
        constant = node("Constant", [], ["k"], value, name="k")
        assert "far" in refusal(saved(folder, model(graph([constant, conv()], [weight()]))))
        body = graph([], [item], inputs=[], outputs=[])
        holder = node("Custom", ["x"], ["k"], rec(1, "b") + rec(6, body) + kind, domain="my")
        imports = rec(8, rec(1, "my") + rec(2, 1))
        assert "far" in refusal(saved(folder, model(graph([holder, conv()], [weight()]), imports)))


# --- offsets and lengths ------------------------------------------------------------------

SIZE = 4096
"""Of the data file in the cases below."""
BAD_EXTENTS: dict[str, dict[str, str]] = {
    "negative offset": {"offset": "-384"},
    "negative length": {"offset": "0", "length": "-384"},
    "both negative": {"offset": "-384", "length": "-384"},
    "offset of words": {"offset": "zero", "length": "384"},
    "length of words": {"offset": "0", "length": "much"},
    "offset with a fraction": {"offset": "0.5", "length": "384"},
    "length with an exponent": {"offset": "0", "length": "3e2"},
    "hexadecimal": {"offset": "0x10", "length": "384"},
    "empty offset": {"offset": "", "length": "384"},
    "empty length": {"offset": "0", "length": ""},
    "other digits": {"offset": "\u0663", "length": "384"},
    "underscores": {"offset": "1_0", "length": "384"},
    "offset behind the end": {"offset": str(SIZE + 1), "length": "384"},
    "offset at the end": {"offset": str(SIZE), "length": "384"},
    "end behind the end": {"offset": str(SIZE - 383), "length": "384"},
    "huge offset": {"offset": str(2**63), "length": "384"},
    "huge length": {"offset": "0", "length": str(2**64)},
    "sum that wraps": {"offset": str(2**64 - 384), "length": "384"},
    "thousands of digits": {"offset": "9" * 5000, "length": "384"},
    "length too short": {"offset": "0", "length": "380"},
    "length too long": {"offset": "0", "length": "388"},
    "length of nothing": {"offset": "0", "length": "0"},
    "no length, too near the end": {"offset": str(SIZE - 380)},
}


@pytest.mark.parametrize("case", BAD_EXTENTS)
def test_extents_that_can_not_be_are_refused(case: str, folder: Path) -> None:
    (folder / "w.bin").write_bytes(bytes(SIZE))
    item = external("far", (96,), location="w.bin", **BAD_EXTENTS[case])
    for make in (in_initializer, in_constant, in_sparse_attribute, in_function):
        message = refusal(saved(folder, make(item)))
        assert "far" in message
        assert len(message) < 1000


def test_extents_at_the_very_end_are_fine(folder: Path) -> None:
    (folder / "w.bin").write_bytes(bytes(SIZE))
    for place in ({"offset": str(SIZE - 384), "length": "384"}, {"offset": str(SIZE - 384)}):
        item = external("far", (96,), location="w.bin", **place)
        path = saved(folder, in_initializer(item))
        assert len(padaudit.check(path).sites) == 1


def test_lengths_follow_from_dims_and_type(folder: Path) -> None:
    """Bytes per element by type; dims of which one is 0 or negative."""
    (folder / "w.bin").write_bytes(bytes(SIZE))

    def path(dims: tuple[int, ...], data_type: int, length: int) -> Path:
        place = {"location": "w.bin", "offset": "0", "length": str(length)}
        return saved(folder, in_initializer(external("far", dims, data_type, **place)))

    sizes = {1: 4, 2: 1, 3: 1, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 14: 8, 15: 16, 16: 2, 17: 1}
    for data_type, size in sizes.items():
        assert len(padaudit.check(path((5, 3), data_type, 15 * size)).sites) == 1
        for wrong in (15 * size - 1, 15 * size + size, 1):
            if wrong != 15 * size:
                assert "far" in refusal(path((5, 3), data_type, wrong))
    assert len(padaudit.check(path((), 1, 4)).sites) == 1
    assert len(padaudit.check(path((3, 0), 1, 0)).sites) == 1
    for dims in ((-1, 4), (-2, -2), (2**62, 2**62), (2**63 - 1, 4)):
        assert "far" in refusal(path(dims, 1, 16))
    assert "far" in refusal(path((4,), ob.STRING, 16))


@pytest.mark.parametrize(
    ("first", "second"),
    [((0, 384), (380, 384)), ((380, 384), (0, 384)), ((0, 384), (0, 192)), ((0, 384), (100, 4))],
)
def test_overlapping_extents_are_refused(
    first: tuple[int, int], second: tuple[int, int], folder: Path
) -> None:
    (folder / "w.bin").write_bytes(bytes(SIZE))
    pair = []
    for name, (offset, length) in (("one", first), ("two", second)):
        place = {"location": "w.bin", "offset": str(offset), "length": str(length)}
        pair.append(external(name, (length // 4,), **place))
    message = refusal(saved(folder, one_conv(weight(), *(rec(5, item) for item in pair))))
    assert "one" in message or "two" in message
    constant = node("Constant", [], ["k"], attribute("value", t=pair[1]), name="k")
    across = model(graph([constant, conv()], [weight(), pair[0]]))
    refusal(saved(folder, across))


def test_extents_that_touch_or_are_in_different_files_do_not_overlap(folder: Path) -> None:
    for name in ("v.bin", "w.bin"):
        (folder / name).write_bytes(bytes(SIZE))
    places = [("v.bin", 0), ("v.bin", 384), ("w.bin", 0), ("w.bin", 768), ("w.bin", 384)]
    items = [
        rec(5, external(f"t{index}", (96,), location=name, offset=str(at), length="384"))
        for index, (name, at) in enumerate(places)
    ]
    path = saved(folder, one_conv(weight(), *items))
    assert len(padaudit.check(path).sites) == 1


def test_one_file_by_two_names_is_one_file(folder: Path) -> None:
    (folder / "w.bin").write_bytes(bytes(SIZE))
    items = [
        rec(5, external(name, (96,), location=location, offset=str(at), length="384"))
        for name, location, at in (("one", "w.bin", 0), ("two", "./w.bin", 200))
    ]
    refusal(saved(folder, one_conv(weight(), *items)))


def test_many_extents_are_compared_quickly(folder: Path) -> None:
    """Five thousand tensors; comparing each with each would take long."""
    count = 5_000
    with (folder / "w.bin").open("wb") as file:
        file.truncate(count * 4)
    items = [
        rec(5, external(f"t{index}", (1,), location="w.bin", offset=str(index * 4), length="4"))
        for index in range(count)
    ]
    path = saved(folder, one_conv(weight(), *items))
    done = run("check", path, folder=folder)
    assert done.returncode in (0, 1), done.stderr


def test_a_rewrite_that_fails_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    """The data ends too early for the copy; whatever was written goes away again."""
    path = good_model(folder, "w.bin")
    good = external("v", (4,), location="v.bin", offset="0", length="16")
    (folder / "v.bin").write_bytes(bytes(12))
    place = {"location": "w.bin", "offset": "0", "length": str(len(DATA))}
    saved(folder, one_conv(external("w", **place), rec(5, good)))
    other = tmp_path / "other"
    other.mkdir()
    done = run(
        "rewrite", "--explicit", "--copy-data", path, "-o", other / "out.onnx", folder=folder
    )
    assert_one_error(done, str(path))
    assert listing(other) == {}


def test_a_copy_that_fails_half_way_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    """The second of two data files is missing, or is there already in the other folder."""
    path = good_model(folder, "data/w.bin")
    place = {"location": "data/w.bin", "offset": "0", "length": str(len(DATA))}
    second = rec(5, external("v", (96,), location="more/v.bin"))
    saved(folder, one_conv(external("w", **place), second))
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match=r"v\.bin"):
        padaudit.rewrite(path, other / "out.onnx", verify="none", copy_data=True)
    assert listing(other) == {}
    (folder / "more").mkdir()
    (folder / "more" / "v.bin").write_bytes(DATA)
    (other / "more").mkdir()
    (other / "more" / "v.bin").write_bytes(b"of another model")
    before = listing(other)
    with pytest.raises(InputError, match=r"v\.bin"):
        padaudit.rewrite(path, other / "out.onnx", verify="none", copy_data=True)
    assert listing(other) == before


def test_a_proof_that_fails_takes_the_copy_away(folder: Path, tmp_path: Path) -> None:
    """Also where an older output is there, which stays as it is."""
    path = good_model(folder, "data/w.bin")
    place = {"location": "data/w.bin", "offset": "0", "length": str(len(DATA))}
    custom = node("Custom", ["x"], ["u"], name="custom", domain="my")
    imports = rec(8, rec(1, "my") + rec(2, 1))
    content = graph([conv(), custom], [external("w", **place)], outputs=["y", "u"])
    saved(folder, model(content, imports))
    for older in ({}, {"out.onnx": b"an older output"}):
        other = tmp_path / f"other{len(older)}"
        other.mkdir()
        for name, data in older.items():
            (other / name).write_bytes(data)
        result = padaudit.rewrite(path, other / "out.onnx", verify="model", copy_data=True)
        assert not result.written
        assert listing(other) == older
