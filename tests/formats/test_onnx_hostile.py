"""Broken and hostile ONNX files: read, or refused in one sentence; never anything else."""

from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import FrameType

import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import padaudit
from padaudit.errors import PadauditError
from padaudit.formats.guard import at_node, well_formed

sys.path.insert(0, str(Path(__file__).parent))
import onnx_bytes as ob
from onnx_bytes import attribute, conv, entry, graph, model, node, rec, tensor, varint, weight

FIXTURES = Path(__file__).parents[2] / "fixtures"
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
REAL = {
    "nested": FIXTURES / "auto-pad-nested.onnx",
    "open": FIXTURES / "auto-pad-open.onnx",
    "operators": FIXTURES / "auto-pad.onnx",
    "alexnet": LIGHT / "light_bvlc_alexnet.onnx",
    "squeezenet": LIGHT / "light_squeezenet.onnx",
}
SECONDS = 10
STYLES = ("pad", "attrs")


def fuzz(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


class Late(BaseException):
    """Time is up; no Exception, so that no handler of the product takes it for one of its own."""


@contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Fail if the block computes longer, or waits forever.

    The machine may be busy, so it is the process's own time that counts.
    """

    def late(number: int, frame: FrameType | None) -> None:
        raise Late

    timers = {
        signal.SIGPROF: (signal.ITIMER_PROF, seconds),
        signal.SIGALRM: (signal.ITIMER_REAL, 30 * seconds),
    }
    before = {number: signal.signal(number, late) for number in timers}
    for timer, limit in timers.values():
        signal.setitimer(timer, limit, 1)
    try:
        yield
    except Late:
        pytest.fail(f"it takes more than {seconds} seconds")
    finally:
        for number, (timer, _) in timers.items():
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def assert_sentence(message: str, path: Path) -> None:
    """One line that names the file, is no novel and has no control characters."""
    assert message.startswith(str(path)) or str(path) in message
    assert "Traceback" not in message
    assert message.isprintable(), message[:300]
    assert len(message) < 2000, len(message)


def check(path: Path) -> str | None:
    """Return the sentence that a file is refused with, or None."""
    try:
        with at_most(SECONDS):
            report = padaudit.check(path)
    except PadauditError as error:
        message = str(error)
        assert_sentence(message, path)
        return message
    assert len({site.id for site in report.sites}) == len(report.sites)
    return None


def rewrite(path: Path, style: str = "pad") -> str | None:
    """Rewrite a file, or return the sentence it is refused with; nothing half-done stays."""
    target = path.with_name("out.onnx")
    target.unlink(missing_ok=True)
    before = {item.name for item in path.parent.iterdir()}
    content = path.read_bytes()
    try:
        with at_most(SECONDS):
            result = padaudit.rewrite(path, target, style=style, verify="none")
    except PadauditError as error:
        message = str(error)
        assert_sentence(message, path)
        assert {item.name for item in path.parent.iterdir()} == before
        return message
    assert result.written
    assert {item.name for item in path.parent.iterdir()} == {*before, "out.onnx"}
    assert path.read_bytes() == content
    assert_result_is_a_model(content, target, len(result.plan.edits))
    return None


def assert_result_is_a_model(content: bytes, target: Path, edits: int) -> None:
    """What was written can be read, is explicit, and is the input where there was no edit."""
    after = target.read_bytes()
    assert (after == content) == (edits == 0)
    assert parses(after) == parses(content)
    with at_most(SECONDS):
        report = padaudit.check(target)
        again = padaudit.rewrite(target, target.with_name("again.onnx"), verify="none")
    assert not again.plan.edits
    assert target.with_name("again.onnx").read_bytes() == after
    target.with_name("again.onnx").unlink()
    implicit = [site.id for site in report.sites if site.implicit]
    assert {kept.site.id for kept in again.plan.kept} >= set(implicit)


def parses(content: bytes) -> bool:
    """Tell whether protobuf can read a model; values that padaudit leaves in the file included."""
    try:
        onnx.load_model_from_string(content)
    except DecodeError:
        return False
    return True


def saved(folder: Path, content: bytes, name: str = "m.onnx") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# --- real files, damaged ------------------------------------------------------------------


def test_a_file_cut_at_any_byte_is_read_or_refused(tmp_path: Path) -> None:
    """Every single length of a small file; most cuts are within a record."""
    data = REAL["open"].read_bytes()
    refused = 0
    for size in range(0, len(data)):
        refused += check(saved(tmp_path, data[:size])) is not None
    assert refused > len(data) // 2
    assert check(saved(tmp_path, data)) is None


@pytest.mark.parametrize("name", REAL)
def test_cuts_and_flipped_bits_are_read_or_refused(name: str, tmp_path: Path) -> None:
    data = REAL[name].read_bytes()

    @fuzz(30)
    @given(
        bits=st.lists(st.integers(0, len(data) * 8 - 1), max_size=4),
        cut=st.one_of(st.none(), st.integers(0, len(data))),
        tail=st.binary(max_size=3),
    )
    def run(bits: list[int], cut: int | None, tail: bytes) -> None:
        changed = bytearray(data)
        for bit in bits:
            changed[bit // 8] ^= 1 << bit % 8
        path = saved(tmp_path, bytes(changed[:cut]) + tail)
        if check(path) is None:
            rewrite(path)

    run()


NUMBERS = [
    0,
    1,
    2,
    127,
    128,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**62,
    2**63 - 1,
    2**63,
    2**64 - 1,
]


@st.composite
def record_change(draw: st.DrawFn) -> Callable[[ob.Record], bytes]:
    """Draw what becomes of one record; the lengths around it are made to fit."""
    kind = draw(st.sampled_from(["drop", "twice", "many", "empty", "number", "wire", "length",
                                 "value", "bytes", "inside itself"]))  # fmt: skip
    number = draw(st.sampled_from([0, 1, 2, 5, 7, 8, 13, 15, 20, 25, 99, 2**29 - 1, 2**29]))
    wire = draw(st.integers(0, 7))
    delta = draw(st.sampled_from([-300, -2, -1, 1, 2, 300, 2**31, 2**63]))
    value = draw(st.sampled_from(NUMBERS))
    content = draw(st.binary(max_size=12))

    def change(record: ob.Record) -> bytes:
        head, rest = record.raw[:1], record.raw[1:]
        length = max(len(record.value) + delta, 0)
        is_number = record.wire == 0
        return {
            "drop": b"",
            "twice": record.raw * 2,
            "many": record.raw * 40,
            "empty": rec(record.number, 0 if is_number else b""),
            "number": varint(number << 3 | record.wire) + rest,
            "wire": bytes([head[0] & ~7 | wire]) + rest,
            "length": varint(record.number << 3 | 2) + varint(length) + record.value,
            "value": rec(record.number, value if is_number else varint(value)),
            "bytes": rec(record.number, content),
            "inside itself": rec(record.number, record.raw),
        }[kind]

    return change


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", REAL)
def test_changed_records_are_read_or_refused(name: str, style: str, tmp_path: Path) -> None:
    """Removed, doubled, renumbered records, wrong lengths, wrong wire types, at any depth."""
    data = REAL[name].read_bytes()
    count = ob.count_records(data)

    @fuzz(30)
    @given(
        changes=st.lists(
            st.tuples(st.integers(0, count - 1), record_change()), min_size=1, max_size=2
        )
    )
    def run(changes: Sequence[tuple[int, Callable[[ob.Record], bytes]]]) -> None:
        content = data
        (first, change), *others = changes
        content = ob.changed_at(data, first, change)
        for place, other in others:
            try:
                content = ob.changed_at(content, place, other)
            except (AssertionError, IndexError, KeyError):
                break  # the first change left no well-formed records to find
        path = saved(tmp_path, content)
        if check(path) is None:
            rewrite(path, style)

    run()


@pytest.mark.parametrize("style", STYLES)
def test_every_record_of_a_small_file_may_be_missing_or_double(style: str, tmp_path: Path) -> None:
    data = REAL["open"].read_bytes()
    for place in range(ob.count_records(data)):
        for change in (lambda record: b"", lambda record: record.raw * 2):
            path = saved(tmp_path, ob.changed_at(data, place, change))
            assert (check(path) is None) >= (rewrite(path, style) is None)


# --- bytes that are no protobuf, or hardly ------------------------------------------------

GOOD = ob.conv_model()


def in_conv(*attributes: bytes, **parts: bytes) -> bytes:
    return model(graph([conv("x", "y", *attributes, **parts)], [weight()]))


def group(depth: int, number: int = 70) -> bytes:
    return varint(number << 3 | 3) * depth + varint(number << 3 | 4) * depth


def around(length: int) -> bytes:
    """Return a model whose graph's length says something else."""
    content = graph([conv()], [weight()])
    return rec(1, 8) + rec(8, rec(2, 17)) + varint(7 << 3 | 2) + varint(length) + content


LENGTH = len(graph([conv()], [weight()]))

BROKEN: dict[str, bytes] = {
    "one byte": b"\x08",
    "one long varint": b"\x08" + b"\xff" * 4000,
    "only zeros": bytes(5000),
    "only 0xff": b"\xff" * 5000,
    "number of 11 bytes": rec(1, 8) + b"\x28" + b"\x80" * 10 + b"\x01" + GOOD,
    "length of 11 bytes": rec(1, 8) + b"\x32" + b"\x80" * 10 + b"\x00" + GOOD,
    "tag of 11 bytes": rec(1, 8) + b"\xb2" + b"\x80" * 9 + b"\x00\x00" + GOOD,
    "number of 10 bytes, too large": rec(1, 8) + b"\x28" + b"\xff" * 9 + b"\x7f" + GOOD,
    "number without an end": GOOD + b"\x28" + b"\x80" * 5,
    "tag without an end": GOOD + b"\x80\x80",
    "tag without a value": GOOD + b"\x28",
    "length without an end": GOOD + b"\x32\x80",
    "fixed32 cut off": GOOD + varint(50 << 3 | 5) + bytes(3),
    "fixed64 cut off": GOOD + varint(50 << 3 | 1) + bytes(7),
    "field number 0": rec(0, 5) + GOOD,
    "field number 0 in a node": in_conv(extra=rec(0, b"")),
    "field number 2**29": rec(1, 8) + varint(2**29 << 3) + b"\x01" + GOOD,
    "field number 2**32 + 7": around(LENGTH)[: -LENGTH - 3]
    + varint((2**32 + 7) << 3 | 2) + varint(LENGTH) + graph([conv()], [weight()]),
    "wire type 6": GOOD + varint(50 << 3 | 6) + b"\x00",
    "wire type 7": GOOD + varint(50 << 3 | 7) + b"\x00",
    "wire type of the graph": rec(1, 8) + rec(7, 5) + rec(8, rec(2, 17)),
    "wire type of ir_version": rec(1, b"\x08") + GOOD,
    "wire type of dims": model(graph([conv()], [rec(1, 1.0) + weight()])),
    "group opened": GOOD + varint(70 << 3 | 3),
    "group closed": GOOD + varint(70 << 3 | 4),
    "group closed as another": GOOD + varint(70 << 3 | 3) + varint(71 << 3 | 4),
    "group instead of the graph": rec(1, 8) + varint(7 << 3 | 3) + varint(7 << 3 | 4),
    "groups 20000 deep": GOOD + group(20_000),
    "groups 20000 deep, open": GOOD + varint(70 << 3 | 3) * 20_000,
    "groups deep in a node": in_conv(extra=group(5000)),
    "length 1 too short": around(LENGTH - 1),
    "length 1 too long": around(LENGTH + 1),
    "length 2**31": around(2**31),
    "length 2**32 + right": around(2**32 + LENGTH),
    "length 2**63": around(2**63),
    "length 2**64 - 1": around(2**64 - 1),
    "length of a tensor's data": model(
        graph([conv()], [rec(8, "t") + varint(9 << 3 | 2) + varint(2**40), weight()])
    ),
    "length of a large tensor's data": model(
        graph(
            [conv()],
            [tensor("t", (1,), doc_string="d" * 9000) + b"\x4a" + varint(9000), weight()],
        )
    ),
    "length of packed floats": model(
        graph([conv()], [tensor("t", (2,), ob.FLOAT, rec(4, bytes(7))), weight()])
    ),
    "length of packed floats of a large tensor": model(
        graph([conv()], [tensor("t", (2,), ob.FLOAT, rec(4, bytes(9001))), weight()])
    ),
    "packed numbers cut off": model(
        graph([conv()], [tensor("t", (2,), ob.INT64, rec(7, b"\x01\x80")), weight()])
    ),
    "packed numbers of a large tensor cut off": model(
        graph([conv()], [tensor("t", (2,), ob.INT64, rec(7, b"\x80" * 9000)), weight()])
    ),
    "packed strides cut off": in_conv(rec(1, "dilations") + rec(8, b"\x01\x81") + rec(20, 7)),
    "another message": rec(1, "file.proto") + rec(2, "package") + rec(4, rec(1, "Message")),
    "a tensor": tensor("t", (96,), raw_data=bytes(384)),
    "a graph": graph([conv()], [weight()]),
    "only ir_version": rec(1, 8),
    "no graph": rec(1, 8) + rec(8, rec(2, 17)),
    "an empty graph": rec(1, 8) + rec(7, b"") + rec(8, rec(2, 17)),
    "twice": GOOD + GOOD,
    "text that begins with 8": b"\x08 is a number\n" * 50,
    "an empty archive": b"PK\x05\x06" + bytes(18),
    "gzip": b"\x1f\x8b\x08\x00" + bytes(range(200)),
}  # fmt: skip
assert around(LENGTH) == rec(1, 8) + rec(8, rec(2, 17)) + rec(7, graph([conv()], [weight()]))


@pytest.mark.parametrize("case", BROKEN)
def test_broken_bytes_are_read_or_refused(case: str, tmp_path: Path) -> None:
    path = saved(tmp_path, BROKEN[case])
    refusal = check(path)
    for style in STYLES:
        assert (rewrite(path, style) is None) == (refusal is None)


MALFORMED = [
    "one long varint", "number of 11 bytes", "length of 11 bytes", "number without an end",
    "tag without an end", "tag without a value", "fixed32 cut off", "field number 0",
    "field number 0 in a node", "wire type 6", "wire type 7", "group opened", "group closed",
    "length 1 too short", "length 1 too long", "length 2**31", "length 2**32 + right",
    "length 2**63", "length 2**64 - 1", "length of a tensor's data",
    "length of a large tensor's data", "packed strides cut off", "only ir_version", "no graph",
    "another message",
]  # fmt: skip


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_protobuf_is_refused(case: str, tmp_path: Path) -> None:
    assert check(saved(tmp_path, BROKEN[case])) is not None


# --- definitions that lie -----------------------------------------------------------------

HUGE = (2**62, 2**63 - 1)
BAD_TEXT = b"\xff\xfe\xed\xa0\x80"


def sized(dims: Sequence[int | str] | None) -> bytes:
    return model(graph([conv()], [weight()], inputs=[ob.value_info("x", dims)]))


def weighted(*dims: int, **values: bytes) -> bytes:
    """Return a model whose weight's dims have nothing to do with its 384 bytes."""
    given = values or {"raw_data": bytes(384)}
    return model(graph([conv()], [tensor("w", dims, **given)]))


def window(op_type: str = "Conv", **lists: Sequence[int]) -> bytes:
    padding = [] if "pads" in lists else [attribute("auto_pad", s="SAME_UPPER")]
    given = [attribute(name, ints=list(values)) for name, values in lists.items()]
    inputs = ["x", "w"] if "Conv" in op_type else ["x"]
    step = node(op_type, inputs, ["y"], *given, *padding, name="step")
    return model(graph([step], [weight()]))


def int64s(name: str, *values: int) -> bytes:
    return tensor(name, (len(values),), ob.INT64, int64_data=values)


def shaped_by(op_type: str, inputs: list[str], *constants: bytes, **more: bytes) -> bytes:
    """Return a Conv behind a node whose output's size is data."""
    step = node(op_type, inputs, ["h"], name="step", **more)
    return model(graph([step, conv("h")], [weight(), *constants]))


def calls(functions: dict[str, list[str]], copies: int = 1) -> bytes:
    """Return functions that call others; the first is called in the graph."""
    parts = []
    for name, called in functions.items():
        nodes, last = [], "a"
        for index, other in enumerate(called * copies):
            nodes.append(node(other, [last], [f"v{index}"], name=f"c{index}", domain="local"))
            last = f"v{index}"
        nodes.append(conv(last, "b", weight="k"))
        nodes.insert(0, node("Constant", [], ["k"], attribute("value", t=WEIGHT_2_2), name="k"))
        imports = [rec(2, 17), rec(1, "local") + rec(2, 1)]
        parts.append(
            ob.message(
                ob.FUNCTION, name=name, input="a", output="b", node=nodes, opset_import=imports,
                domain="local",
            )
        )  # fmt: skip
    call = node(next(iter(functions)), ["x"], ["y"], name="call", domain="local")
    extra = [*(rec(25, part) for part in parts), rec(8, rec(1, "local") + rec(2, 1))]
    return model(graph([call]), *extra)


WEIGHT_2_2 = tensor("k", (2, 2, 4, 3), raw_data=bytes(192))


def nested_ifs(depth: int) -> bytes:
    inner = conv("x", "t0")
    for level in range(depth):
        output = f"t{level + 1}" if level < depth - 1 else "y"
        then = attribute("then_branch", g=graph([inner], inputs=[], outputs=[f"t{level}"]))
        other = graph([node("Identity", ["x"], ["e"])], inputs=[], outputs=["e"])
        inner = node("If", ["c"], [output], then, attribute("else_branch", g=other))
    return model(graph([inner], [weight(), tensor("c", (), 9, int32_data=[1])]))


def nested_types(depth: int) -> bytes:
    """Return a sequence of sequences of sequences... as an input's type."""
    kind = rec(1, rec(1, 1))
    for _ in range(depth):
        kind = rec(4, rec(1, kind))
    return model(graph([conv()], [weight()], rec(11, rec(1, "s") + rec(2, kind))))


def nested_lists(depth: int) -> bytes:
    """Return graphs in a field for lists of graphs, which no standard operator uses."""
    inner = conv("x", "t")
    for _ in range(depth):
        body = graph([inner], inputs=[], outputs=["t"])
        inner = node("Custom", ["x"], ["t"], attribute("many", graphs=[body]), domain="my")
    return model(graph([inner, conv()], [weight()]), rec(8, rec(1, "my") + rec(2, 1)))


def chain(count: int, op_type: str = "Identity") -> bytes:
    names = ["x", *(f"h{index}" for index in range(count))]
    nodes = [node(op_type, [a], [b]) for a, b in pairwise(names)]
    return model(graph([*reversed(nodes), conv(names[-1])], [weight()]))


def cycle_through_a_body() -> bytes:
    """The If reads, through its body, what is made of its own result."""
    then = graph([node("Neg", ["z"], ["t"])], inputs=[], outputs=["t"])
    other = graph([node("Neg", ["x"], ["e"])], inputs=[], outputs=["e"])
    branches = (attribute("then_branch", g=then), attribute("else_branch", g=other))
    choice = node("If", ["c"], ["u"], *branches, name="if")
    return model(
        graph(
            [choice, conv("u", "z")], [weight(), tensor("c", (), 9, int32_data=[1])], outputs=["z"]
        )
    )


CYCLES: dict[str, bytes] = {
    "a node that reads itself": model(graph([conv("y", "y")], [weight()])),
    "two nodes": model(
        graph([conv("b", "a", name="one"), node("Relu", ["a"], ["b"]), conv("x", "y")], [weight()])
    ),
    "a ring of 2000": model(
        graph(
            [node("Neg", [f"r{index}"], [f"r{(index + 1) % 2000}"]) for index in range(2000)]
            + [conv()],
            [weight()],
        )
    ),
}


CROPS_TOO_MUCH = model(
    graph(
        [node("ConvTranspose", ["x", "w"], ["y"], attribute("output_shape", ints=[9, 11]),
              attribute("strides", ints=[2, 3]), name="step")],
        [weight()],
        inputs=[ob.value_info("x", (1, 4, 5, 2**63 - 1))],
    )
)  # fmt: skip
UNNAMED_BODY = model(
    graph([node("f", ["x", "w"], ["y"], domain="l", name="call")], [weight()]),
    rec(25, rec(1, "f") + rec(4, "a") + rec(4, "b") + rec(5, "c") + rec(10, "l")
        + rec(9, rec(2, 17)) + rec(7, node("If", ["a"], ["c"], attribute("", g=graph(
            [conv("a", "t", weight="b")], inputs=[], outputs=["t"])), name="choice"))),
    rec(8, rec(1, "l") + rec(2, 1)),
)  # fmt: skip


LYING: dict[str, bytes | Callable[[], bytes]] = {
    **{f"cycle: {name}": content for name, content in CYCLES.items()},
    "cycle: through a body": cycle_through_a_body(),
    "functions: itself": calls({"f": ["f"]}),
    "functions: each other": calls({"f": ["g"], "g": ["h"], "h": ["f"]}),
    "functions: the same twice": model(
        graph([node("f", ["x"], ["y"], domain="l")]),
        *[rec(25, rec(1, "f") + rec(4, "a") + rec(5, "b") + rec(10, "l") + rec(9, rec(2, 17))
              + rec(7, conv("a", "b")))] * 2,
        rec(8, rec(1, "l") + rec(2, 1)),
    ),
    "functions: too few inputs": model(
        graph([node("f", [], [], domain="l"), conv()], [weight()]),
        rec(25, rec(1, "f") + rec(4, "a") + rec(5, "b") + rec(10, "l") + rec(7, conv("a", "b"))),
    ),
    "functions: too many inputs": model(
        graph([node("f", ["x"] * 50, ["u"] * 50, domain="l"), conv()], [weight()]),
        rec(25, rec(1, "f") + rec(4, "a") + rec(5, "b") + rec(10, "l") + rec(7, conv("a", "b"))),
    ),
    "functions: named like an operator": model(
        graph([conv()], [weight()]),
        rec(25, rec(1, "Conv") + rec(4, "a") + rec(4, "b") + rec(5, "c") + rec(9, rec(2, 17))
            + rec(7, conv("a", "c", weight="b"))),
    ),
    "dims: batch 2**62": sized((2**62, 2, 17, 14)),
    "dims: all 2**62": sized((2**62,) * 4),
    "dims: 2**63 - 1": sized((1, 2, 2**63 - 1, 2**63 - 1)),
    "dims: negative": sized((-1, 2, -17, -14)),
    "dims: -2**63": sized((1, 2, -(2**63), 14)),
    "dims: zero": sized((1, 2, 0, 0)),
    "dims: rank 0": sized(()),
    "dims: rank 1": sized((3,)),
    "dims: rank 2000": lambda: sized((1,) * 2000),
    "dims: a name of a megabyte": lambda: sized((1, 2, "h" * 2**20, 14)),
    "dims: a name that is no text": model(
        graph([conv()], [weight()], inputs=[
            rec(1, "x") + rec(2, rec(1, rec(1, 1) + rec(2, rec(1, rec(2, BAD_TEXT)) * 4)))])
    ),
    "weight: dims 2**62": weighted(2**62, 2**62, 3, 4),
    "weight: kernel 2**62": weighted(4, 2, 2**62, 2**62),
    "weight: kernel 2**63 - 1": weighted(4, 2, *HUGE),
    "weight: dims negative": weighted(4, 2, -4, -3),
    "weight: dims zero": weighted(0, 0, 0, 0),
    "weight: no dims": weighted(),
    "weight: rank 2": weighted(8, 12),
    "weight: rank 9": weighted(*range(1, 10)),
    "weight: rank 5000": lambda: weighted(*([1] * 5000)),
    "weight: other size": weighted(4, 2, 3, 4, raw_data=bytes(7)),
    "weight: no values": weighted(4, 2, 4, 3, raw_data=b""),
    "weight: type 0": model(graph([conv()], [tensor("w", (4, 2, 4, 3), 0, raw_data=bytes(384))])),
    "weight: type 9999": model(
        graph([conv()], [tensor("w", (4, 2, 4, 3), 9999, raw_data=bytes(384))])
    ),
    "weight: type -1": model(
        graph([conv()], [tensor("w", (4, 2, 4, 3), -1, raw_data=bytes(384))])
    ),
    "weight: text": model(graph([conv()], [tensor("w", (1,), ob.STRING, string_data=BAD_TEXT)])),
    "weight: a segment": model(
        graph([conv()], [rec(3, rec(1, 2**62) + rec(2, 2**63 - 1)) + weight()])
    ),
    "sparse: dims 2**62": model(
        graph([conv()], [weight()], rec(15, ob.message(
            ob.SPARSE, values=tensor("s", (2**62,)), indices=tensor("i", (2**62, 2**62), 7),
            dims=[2**62, 2**63 - 1, 2**62])))
    ),
    "sparse: as the weight": model(
        graph([conv()], [], rec(15, ob.message(
            ob.SPARSE, values=tensor("w", (2,), raw_data=bytes(8)), indices=int64s("i", -1, 2**62),
            dims=[4, 2, 4, 3])))
    ),
    "sparse: empty": model(graph([conv()], [weight()], rec(15, b""))),
    "window: kernel_shape 2**62": window(kernel_shape=[2**62, 2**62]),
    "window: kernel_shape 0": window(kernel_shape=[0, 0]),
    "window: kernel_shape negative": window(kernel_shape=[-4, -3]),
    "window: kernel_shape of 5": window(kernel_shape=[1, 2, 3, 4, 5]),
    "window: kernel_shape empty": window(kernel_shape=[]),
    "window: strides 0": window(strides=[0, 2]),
    "window: strides negative": window(strides=[-3, -2]),
    "window: strides 2**62": window(strides=HUGE),
    "window: strides of 3": window(strides=[1, 2, 3]),
    "window: dilations 0": window(dilations=[0, 0]),
    "window: dilations 2**62": window(dilations=HUGE),
    "window: dilations negative": window(dilations=[-1, -(2**63)]),
    "window: pads of 3": window(pads=[1, 2, 3]),
    "window: pads 2**63 - 1": window(pads=[2**63 - 1] * 4),
    "window: pads negative": window(pads=[-(2**63)] * 4),
    "window: 50000 pads": lambda: window(pads=[1] * 50_000),
    "window: 50000 strides": lambda: window(strides=[2] * 50_000),
    "window: 50000 kernel sizes": lambda: window("MaxPool", kernel_shape=[2] * 50_000),
    "pool: kernel_shape 2**62": window("MaxPool", kernel_shape=HUGE, strides=[3, 2]),
    "pool: kernel_shape 0": window("AveragePool", kernel_shape=[0, 0], strides=[3, 2]),
    "pool: kernel_shape missing": window("MaxPool", strides=[3, 2]),
    "pool: strides 0": window("LpPool", kernel_shape=[4, 3], strides=[0, 0]),
    "transposed: output_shape 2**62": window("ConvTranspose", output_shape=HUGE, strides=[3, 2]),
    "transposed: crops more than 64 bits": CROPS_TOO_MUCH,
    "transposed: output_shape negative": window("ConvTranspose", output_shape=[-9, -9]),
    "transposed: output_padding 2**62": window("ConvTranspose", output_padding=HUGE),
    "attribute: auto_pad unknown": in_conv(auto_pad="SAME"),
    "attribute: auto_pad twice": in_conv(attribute("auto_pad", s="SAME_LOWER")),
    "attribute: auto_pad a number": in_conv(attribute("auto_pad", i=3), auto_pad=""),
    "attribute: auto_pad no text": in_conv(attribute("auto_pad", s=BAD_TEXT), auto_pad=""),
    "attribute: auto_pad and pads": in_conv(attribute("pads", ints=[9, 9, 9, 9])),
    "attribute: strides a float": in_conv(attribute("strides", floats=[2.0, float("nan")])),
    "attribute: strides a text": in_conv(attribute("strides", s="2,2")),
    "attribute: strides a graph": in_conv(attribute("strides", g=b"")),
    "attribute: strides twice": in_conv(attribute("strides", ints=[1, 1])),
    "attribute: group 0": in_conv(attribute("group", i=0)),
    "attribute: group 2**62": in_conv(attribute("group", i=2**62)),
    "attribute: group negative": in_conv(attribute("group", i=-(2**63))),
    "attribute: no name": in_conv(rec(8, 1) + rec(20, 7)),
    "attribute: no type": in_conv(rec(1, "dilations") + rec(8, 2) + rec(8, 2)),
    "attribute: type 99": in_conv(rec(1, "dilations") + rec(8, 2) + rec(8, 2) + rec(20, 99)),
    "attribute: empty": in_conv(b""),
    "attribute: a reference outside": in_conv(rec(1, "dilations") + rec(21, "d") + rec(20, 7)),
    "attribute: 10000": lambda: in_conv(*[attribute(f"a{i}", i=i) for i in range(10_000)]),
    "node: no inputs": model(graph([node("Conv", [], ["y"], attribute("auto_pad", s="VALID"))])),
    "node: no outputs": model(graph([conv(), node("Conv", ["x", "w"], [])], [weight()])),
    "node: a pool of onnxruntime without outputs": model(
        graph([conv(), node("NhwcMaxPool", ["x"], [], attribute("kernel_shape", ints=[4, 3]),
                            domain="com.microsoft")], [weight()])
    ),
    "node: empty": model(graph([b"", conv(), b""], [weight()])),
    "node: output without a name": model(graph([conv("x", "")], [weight()], outputs=[""])),
    "node: 10000 inputs": lambda: model(
        graph([node("Sum", ["x"] * 10_000, ["h"]), conv("h")], [weight()])
    ),
    "node: Conv of 10000 inputs": lambda: model(
        graph([node("Conv", ["x", "w"] + ["x"] * 10_000, ["y"],
                    attribute("auto_pad", s="SAME_UPPER"))], [weight()])
    ),
    "node: 10000 outputs": lambda: model(
        graph([node("Split", ["x"], [f"h{index}" for index in range(10_000)]), conv()], [weight()])
    ),
    "node: one name for 300": lambda: model(
        graph([conv("x", f"y{index}", name="conv") for index in range(300)], [weight()],
              outputs=["y0"])
    ),
    "node: a name of a megabyte": lambda: model(graph([conv(name="n" * 2**20)], [weight()])),
    "node: a domain that is no text": model(
        graph([node("Conv", ["x", "w"], ["y"], domain=BAD_TEXT)], [weight()])
    ),
    "names: tensor is no text": model(
        graph([node("Conv", ["x", "w"], [BAD_TEXT], attribute("auto_pad", s="SAME_UPPER"))],  # type: ignore[list-item]
              [weight()])
    ),
    "names: operator is no text": model(graph([node("Conv", ["x"], ["y"]) + rec(4, BAD_TEXT)])),
    "names: weight is no text": model(
        graph([conv()], [weight(), tensor("t", (1,)) + rec(8, BAD_TEXT)])
    ),
    "names: attribute is no text": in_conv(rec(1, BAD_TEXT) + rec(3, 1) + rec(20, 2)),
    "names: graph is no text": model(graph([conv()], [weight()], rec(2, BAD_TEXT))),
    "names: maker is no text": GOOD + rec(2, BAD_TEXT),
    "names: metadata is no text": GOOD + rec(14, entry("k", BAD_TEXT)),
    "names: domain of an opset is no text": GOOD + rec(8, rec(1, BAD_TEXT) + rec(2, 1)),
    "names: node is no text": model(graph([conv(name="") + rec(3, BAD_TEXT)], [weight()])),
    "names: node with control characters": model(
        graph([conv("nowhere", name="conv\nerror: \x1b[31mall is well\x1b[0m\r\x07")], [weight()])
    ),
    "names: tensor with control characters": model(
        graph([conv("no\nwhere\x1b[2J\x00")], [weight()])
    ),
    "names: a missing tensor is no text": model(
        graph([rec(1, BAD_TEXT) + rec(1, "w") + rec(2, "y") + rec(4, "Conv")], [weight()])
    ),
    "names: a missing tensor of a megabyte": lambda: model(graph([conv("n" * 2**20)], [weight()])),
    "body: If without branches": model(graph([node("If", ["c"], ["u"]), conv()], [weight()])),
    "body: a text": model(
        graph([node("If", ["x"], ["u"], attribute("then_branch", s="graph")), conv()], [weight()])
    ),
    "body: empty graphs": model(
        graph([node("If", ["x"], ["u"], attribute("then_branch", g=b""),
                    attribute("else_branch", g=b"")), conv()], [weight()])
    ),
    "body: a Loop without a body": model(
        graph([node("Loop", ["", "", "x"], ["u"]), conv()], [weight()])
    ),
    "body: one without a name": UNNAMED_BODY,
    "body: two of one name": model(
        graph([node("If", ["x"], ["y"], *[attribute("then_branch", g=graph(
            [conv("x", "t")], inputs=[], outputs=["t"]))] * 2)], [weight()])
    ),
    "opset: none": rec(1, 8) + rec(7, graph([conv()], [weight()])),
    "opset: 0": model(graph([conv()], [weight()]), opset=0),
    "opset: negative": model(graph([conv()], [weight()]), opset=-5),
    "opset: 2**62": model(graph([conv()], [weight()]), opset=2**62),
    "opset: two that differ": GOOD + rec(8, rec(2, 7)),
    "ir_version: 0": model(graph([conv()], [weight()]), ir_version=0),
    "ir_version: negative": model(graph([conv()], [weight()]), ir_version=-1),
    "ir_version: 2**62": model(graph([conv()], [weight()]), ir_version=2**62),
    "sizes: ConstantOfShape": shaped_by(
        "ConstantOfShape", ["s"], int64s("s", 2**40, 2**40, 2**40, 2**40)
    ),
    "sizes: Expand": shaped_by("Expand", ["x", "s"], int64s("s", 2**62, 2, 2**62, 2**62)),
    "sizes: Tile": shaped_by("Tile", ["x", "s"], int64s("s", 2**62, 1, 2**62, 2**62)),
    "sizes: Reshape": shaped_by("Reshape", ["x", "s"], int64s("s", 2**62, -1, -1, 0)),
    "sizes: Reshape to negative": shaped_by("Reshape", ["x", "s"], int64s("s", -9, 2, -8, 3)),
    "sizes: Pad": shaped_by("Pad", ["x", "s"], int64s("s", *[2**62] * 8)),
    "sizes: Pad by -2**63": shaped_by("Pad", ["x", "s"], int64s("s", *[-(2**63)] * 8)),
    "sizes: Resize": shaped_by(
        "Resize", ["x", "", "s"], tensor("s", (4,), float_data=[1.0, 1.0, 1e38, float("inf")])
    ),
    "sizes: Resize by NaN": shaped_by(
        "Resize", ["x", "", "s"], tensor("s", (4,), float_data=[1.0, 1.0, float("nan"), -1.0])
    ),
    "sizes: Range": shaped_by("Range", ["a", "b", "c"], tensor("a", (), 7, int64_data=[0]),
                              tensor("b", (), 7, int64_data=[2**62]),
                              tensor("c", (), 7, int64_data=[1])),
    "sizes: Range by 0": shaped_by("Range", ["a", "b", "c"], tensor("a", (), 7, int64_data=[0]),
                                   tensor("b", (), 7, int64_data=[2**62]),
                                   tensor("c", (), 7, int64_data=[0])),
    "sizes: Split": shaped_by("Split", ["x", "s"], int64s("s", 2**63 - 1, -1)),
    "sizes: numbers cut off": shaped_by(
        "Reshape", ["x", "s"], tensor("s", (4,), ob.INT64, raw_data=bytes(3))
    ),
    "sizes: numbers missing": shaped_by("Reshape", ["x", "s"], tensor("s", (2**40,), ob.INT64)),
    "sizes: dims of a Constant": model(
        graph([node("Constant", [], ["s"], attribute("value", t=tensor("", (2**62, 2**62), 7))),
               node("Reshape", ["x", "s"], ["h"]), conv("h")], [weight()])
    ),
}  # fmt: skip


def lying(case: str) -> bytes:
    content = LYING[case]
    return content if isinstance(content, bytes) else content()


@pytest.mark.parametrize("case", LYING)
def test_definitions_that_lie_are_read_or_refused(case: str, tmp_path: Path) -> None:
    path = saved(tmp_path, lying(case))
    refusal = check(path)
    for style in STYLES:
        rewritten = rewrite(path, style)
        assert refusal is None or rewritten is not None


def test_amounts_beyond_64_bits_are_kept(tmp_path: Path) -> None:
    path = saved(tmp_path, CROPS_TOO_MUCH)
    result = padaudit.rewrite(path, style="attrs", verify="none")
    assert [item.site.id for item in result.plan.kept] == ["step"]
    assert "larger than any tensor" in result.plan.kept[0].reason


def test_a_body_without_a_name_is_refused_at_its_node(tmp_path: Path) -> None:
    refusal = check(saved(tmp_path, UNNAMED_BODY))
    assert refusal is not None
    assert "node 'choice'" in refusal


@pytest.mark.parametrize("error", [IndexError("7"), ZeroDivisionError("by 0"), ValueError("x")])
def test_what_no_check_foresaw_names_the_node_as_well(error: Exception) -> None:
    """The last resort of the reader; `site_of` and others call it for each node."""
    with pytest.raises(PadauditError) as caught, well_formed("m.onnx"), at_node("conv"):
        raise error
    assert str(caught.value).startswith("m.onnx: node 'conv': its definition has a wrong value")
    assert str(error) in str(caught.value)


def bodied(*before: bytes, split: bool = False, functions: bytes = b"") -> bytes:
    """Return an If with a Conv in its body, and records before its attributes."""
    body = graph([conv("x", "t")], inputs=[], outputs=["t"])
    halves = [ob.records(body)[:1], ob.records(body)[1:]] if split else [ob.records(body)]
    pieces = b"".join(rec(6, b"".join(item.raw for item in half)) for half in halves)
    then = rec(5, rec(1, "then_branch") + pieces + rec(20, 5))
    other = graph([node("Identity", ["x"], ["e"])], inputs=[], outputs=["e"])
    last = rec(5, attribute("else_branch", g=other))
    choice = node("If", ["c"], ["y"]) + b"".join(before) + then + last
    given = [weight(), tensor("c", (), 9, int32_data=[1])]
    return model(graph([choice], given), functions)


FUNCTION = rec(25, rec(1, "f") + rec(4, "a") + rec(4, "b") + rec(5, "c") + rec(10, "l")
               + rec(9, rec(2, 17)) + rec(7, conv("a", "c", weight="b")))  # fmt: skip
CALL = graph([node("f", ["x", "w"], ["y"], domain="l")], [weight()])
IMPORT = rec(8, rec(1, "l") + rec(2, 1))
COUNTED: dict[str, bytes] = {
    "the body": bodied(),
    "the function": model(CALL, FUNCTION, IMPORT),
    "a number as a node": model(rec(1, 3) + graph([conv()], [weight()])),
    "fixed bytes as a node": model(rec(1, 1.5) + graph([conv()], [weight()])),
    "a number as an attribute": bodied(rec(5, 3)),
    "a number as a graph": rec(7, 5) + GOOD,
    "a number as a function": model(CALL, rec(25, 5), FUNCTION, IMPORT),
    "a number as a node of a function": model(
        CALL, rec(25, rec(7, 9) + ob.records(FUNCTION)[0].value), IMPORT
    ),
    "an attribute whose name is no text": bodied(rec(5, rec(1, BAD_TEXT) + rec(3, 1) + rec(20, 2))),
    "an attribute with two names": bodied(
        rec(5, rec(1, "then_branch") + rec(1, "other") + rec(3, 1) + rec(20, 2))
    ),
    "an attribute without a name": bodied(rec(5, rec(3, 1) + rec(20, 2))),
    "a body in two records": bodied(split=True),
    "a number as a body": bodied(rec(5, rec(1, "other") + rec(6, 7) + rec(20, 5))),
    "a second graph": bodied(functions=rec(7, rec(1, b""))),
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("case", COUNTED)
def test_records_that_protobuf_does_not_count_move_no_edit(
    case: str, style: str, tmp_path: Path
) -> None:
    """A field of the wrong wire type is an unknown field, and no element of a list."""
    data = COUNTED[case]
    path = saved(tmp_path, data)
    if rewrite(path, style) is not None:
        assert case not in ("the body", "the function")
        return
    added = ob.compare(data, (tmp_path / "out.onnx").read_bytes(), {"conv"})
    ob.assert_only_nodes_and_constants(added)
    (site,) = padaudit.check(tmp_path / "out.onnx").sites
    assert not site.implicit


@pytest.mark.parametrize("case", CYCLES)
def test_cycles_are_named(case: str, tmp_path: Path) -> None:
    refusal = check(saved(tmp_path, CYCLES[case]))
    assert refusal is not None
    assert "cycle" in refusal


def test_a_long_chain_in_reverse_order_is_read(tmp_path: Path) -> None:
    """Each node reads the next one; a recursion over nodes would show."""
    assert check(saved(tmp_path, chain(8000))) is None


@pytest.mark.parametrize("name", ["conv", "", "conv{}"])
def test_many_nodes_are_edited_at_once(name: str, tmp_path: Path) -> None:
    """Nodes of one name, without a name, and of names of their own."""
    nodes = [conv("x", f"y{index}", name=name.format(index)) for index in range(2000)]
    path = saved(tmp_path, model(graph(nodes, [weight()], outputs=["y0"])))
    result = padaudit.rewrite(path, tmp_path / "out.onnx", verify="none")
    assert len(result.plan.edits) == len(set(result.created.values())) == 2000


# --- through the command line -------------------------------------------------------------


def limited() -> None:
    """Four gigabytes of addresses, libraries included: no room for what a file promises."""
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


def run(
    path: Path, *arguments: str, seconds: int = 2 * SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run a command within time and memory; a crash, a hang or a traceback fails."""
    done = subprocess.run(
        [sys.executable, "-m", "padaudit", *arguments, str(path)],
        cwd=path.parent,
        env={**os.environ, "NO_COLOR": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        preexec_fn=limited,
    )
    assert done.returncode in (0, 1, 2), done.stderr[-2000:]
    assert "Traceback" not in done.stderr
    if done.returncode == 2:
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert_sentence(line, path)
    return done


DEEP: dict[str, Callable[[], bytes]] = {
    "10 bodies": lambda: nested_ifs(10),
    "40 bodies": lambda: nested_ifs(40),
    "1000 bodies": lambda: nested_ifs(1000),
    "5000 bodies": lambda: nested_ifs(5000),
    "3000 lists of graphs": lambda: nested_lists(3000),
    "3000 types": lambda: nested_types(3000),
    "400 functions": lambda: calls(
        {f"f{index}": [f"f{index + 1}"] for index in range(400)} | {"f400": []}
    ),
    "2**24 calls": lambda: calls(
        {f"f{index}": [f"f{index + 1}"] for index in range(24)} | {"f24": []}, copies=2
    ),
    "8**9 calls": lambda: calls(
        {f"f{index}": [f"f{index + 1}"] for index in range(9)} | {"f9": []}, copies=8
    ),
    "a function that calls itself twice": lambda: calls({"f": ["f"]}, copies=2),
    "100000 groups": lambda: GOOD + group(100_000),
}


@pytest.mark.parametrize("case", DEEP)
def test_nesting_is_read_or_refused(case: str, tmp_path: Path) -> None:
    """In a process of its own: what overflows a stack can't be caught."""
    path = saved(tmp_path, DEEP[case]())
    before = sorted(tmp_path.iterdir())
    done = run(path, "rewrite", "--explicit", "--verify", "none", "-o", "out.onnx")
    assert case != "10 bodies" or done.returncode == 0
    if done.returncode != 0:
        assert sorted(tmp_path.iterdir()) == before


COMMANDED = [
    "dims: all 2**62", "weight: dims 2**62", "sizes: ConstantOfShape", "sizes: Tile",
    "names: node with control characters",
    "names: a missing tensor of a megabyte",
]  # fmt: skip


@pytest.mark.parametrize("case", COMMANDED)
def test_commands_stay_within_memory_and_say_one_line(case: str, tmp_path: Path) -> None:
    path = saved(tmp_path, lying(case))
    before = sorted(tmp_path.iterdir())
    done = run(path, "rewrite", "--explicit", "--verify", "none", "-o", "out.onnx")
    if done.returncode != 0:
        assert sorted(tmp_path.iterdir()) == before


PROVEN = {
    "dims 2**62": sized((2**62,) * 4),
    "dims of 100 GB": sized((1, 2, 110_000, 110_000)),
    "batch of 100 GB": sized((50_000_000, 2, 17, 14)),
    "weight of another size": weighted(4, 2, 3, 4, raw_data=bytes(7)),
    "group 0": in_conv(attribute("group", i=0)),
    "a size of 2**40": shaped_by("Tile", ["x", "s"], int64s("s", 1, 1, 2**40, 1)),
}


@pytest.mark.parametrize("case", PROVEN)
def test_a_proof_that_can_not_run_leaves_nothing(case: str, tmp_path: Path) -> None:
    """onnxruntime refuses or can't hold these; the verdict is a report, not a crash."""
    path = saved(tmp_path, PROVEN[case])
    done = run(path, "rewrite", "--explicit", "-o", "out.onnx", seconds=60)
    expected = {"m.onnx", "out.onnx"} if done.returncode == 0 else {"m.onnx"}
    assert {item.name for item in tmp_path.iterdir()} == expected


def test_an_archive_of_a_model_is_refused(tmp_path: Path) -> None:
    """A zip that holds an ONNX file is no ONNX file, whatever it is called."""
    path = tmp_path / "m.onnx"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m.onnx", GOOD)
    assert check(path) is not None
    assert rewrite(path) is not None


def test_a_bomb_of_a_tensor_is_not_unpacked(tmp_path: Path) -> None:
    """Unpacked lists grow in memory: 24 MB of packed ones would be 192 MB of numbers."""
    numbers = tensor("t", (24_000_000,), ob.INT64, rec(7, b"\x01" * 24_000_000))
    path = saved(tmp_path, model(graph([conv()], [weight(), numbers])))
    done = run(path, "check")
    assert done.returncode == 1
    assert struct.calcsize("q") == 8
