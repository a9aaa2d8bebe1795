"""What rounding gives in a network is measured, and hides no wrong padding."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1]))
from onnx_models import model

import padaudit
from padaudit.compare.result import Sameness
from padaudit.compare.run import compare_files
from padaudit.formats.keras.engine import KerasRun
from padaudit.formats.shape_options import InputShapes
from padaudit.report.compare import compare_json, compare_lines
from padaudit.verification.evidence import Evidence, Status, Verification, join
from padaudit.verification.keras_level import compare_sources
from padaudit.verification.model_level import Tolerance
from padaudit.verification.outputs import matched
from padaudit.verification.pair import verify_files
from padaudit.verification.rounding import Excused, Rounding, neighbours
from padaudit.verification.runner import USUAL
from padaudit.verification.trials import Run, Trial, differing

SHAPE = (1, 3, 17, 22)
RNG = np.random.default_rng(7)
KERNELS = [RNG.standard_normal((3, 3, 3, 4)).astype(np.float32) / 6 for _ in range(2)]
SPREAD = 2.0**-11
"""How far inputs reach from 1 behind their scaling: the less, the more of them is rounding."""


def network(
    pads: tuple[int, int, int, int], folded: bool = False, error: float = 0.0
) -> onnx.ModelProto:
    """Return a network of inputs that are nearly 1, which a norm takes apart.

    Exporters fold that into the weights, which rounds them. ``error`` makes one of them wrong.
    """
    first, second = KERNELS
    mean, scale = first.sum((1, 2, 3)), np.float32(3 / SPREAD)
    weights = first * scale if folded else first.copy()
    weights[0, 0, 1, 1] *= 1 + error
    tensors = {
        "spread": np.float32(SPREAD),
        "one": np.float32(1),
        "w": weights,
        "b": -mean * scale if folded else 0 * mean,
        "mean": 0 * mean.reshape(1, 3, 1, 1) if folded else mean.reshape(1, 3, 1, 1),
        "scale": np.float32(1) if folded else scale,
        "v": second,
    }
    nodes = [
        helper.make_node("Mul", ["x", "spread"], ["s"]),
        helper.make_node("Add", ["s", "one"], ["near"]),
        helper.make_node("Conv", ["near", "w", "b"], ["c"], "c", strides=[1, 2]),
        helper.make_node("Sub", ["c", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["n"]),
        helper.make_node("Conv", ["n", "v"], ["y"], "d", strides=[2, 2], pads=pads),
    ]
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in tensors.items()]
    return model(nodes, {"x": SHAPE}, initializers)


def saved(folder: Path, *protos: onnx.ModelProto) -> list[Path]:
    paths = [folder / f"{index}.onnx" for index in range(len(protos))]
    for path, proto in zip(paths, protos, strict=True):
        path.write_bytes(proto.SerializeToString())
    return paths


RIGHT = (0, 1, 1, 1)
WRONG = [
    (1, 1, 0, 1),
    *(
        pytest.param(pads, marks=pytest.mark.slow)
        for pads in [(0, 2, 1, 0), (0, 0, 1, 2), (1, 2, 0, 0), (1, 0, 0, 2), (1, 1, 1, 1)]
    ),
]


def test_a_port_within_rounding_is_the_same(tmp_path: Path) -> None:
    paths = saved(tmp_path, network(RIGHT), network(RIGHT, folded=True))
    result = compare_files(*paths, InputShapes())
    assert result.before is not None and not result.before.plain
    assert result.before.relative <= result.before.noise < 1e-2
    assert result.status is Sameness.SAME and "rounding" in result.reason
    text = "\n".join(line.plain for line in compare_lines(result))
    assert "one rounding of each weight and input of the original moves its outputs by" in text
    tolerance = compare_json(result)["tolerance"]
    noise = result.before.noise
    assert tolerance == {"relative": noise, "measured": True, "excused_inputs": 0}


@pytest.mark.parametrize("pads", WRONG)
def test_a_wrong_padding_is_found_in_spite_of_rounding(pads: Any, tmp_path: Path) -> None:
    paths = saved(tmp_path, network(RIGHT), network(pads, folded=True))
    result = compare_files(*paths, InputShapes(), tmp_path / "fixed.onnx")
    (item,) = result.differences
    assert item.port.id == "d" and item.expected_pads == ((0, 1), (1, 1))
    assert result.status is Sameness.DIFFERENT and result.fixed is not None
    assert result.after is not None and not result.after.plain and result.after.equal


def test_a_wrong_weight_is_found_in_spite_of_rounding(tmp_path: Path) -> None:
    paths = saved(tmp_path, network(RIGHT), network(RIGHT, folded=True, error=1e-2))
    result = compare_files(*paths, InputShapes())
    assert result.before is not None and result.before.noise > result.before.allowed
    assert result.status is Sameness.DIFFERENT and not result.differences


@pytest.mark.slow
def test_verify_allows_for_rounding_across_frameworks(tmp_path: Path) -> None:
    """Half a minute: Keras runs, and is translated to be measured."""
    keras = pytest.importorskip("keras", reason="keras is the second framework here")
    first, second = (kernel.transpose(2, 3, 1, 0) for kernel in KERNELS)
    image = keras.Input((17, 22, 3), name="x")
    x = keras.layers.Rescaling(SPREAD, 1.0)(image)
    x = keras.layers.Conv2D(3, (3, 4), (1, 2), use_bias=False, name="c")(x)
    x = keras.layers.BatchNormalization(epsilon=1e-12, name="norm")(x)
    x = keras.layers.Conv2D(3, (3, 4), 2, "same", use_bias=False, name="d")(x)
    made = keras.Model(image, x)
    made.get_layer("c").set_weights([first])
    made.get_layer("d").set_weights([second])
    statistics = [np.ones(3), np.zeros(3), first.sum((0, 1, 2)), np.full(3, SPREAD**2 / 9)]
    made.get_layer("norm").set_weights(statistics)
    original, right, wrong = (tmp_path / name for name in ("m.keras", "r.onnx", "w.onnx"))
    made.save(original)
    padaudit.rewrite(original, right, verify="none")
    proto = onnx.load(right)
    amounts = next(item for item in proto.graph.initializer if item.dims == [8])
    flat = numpy_helper.to_array(amounts).reshape(2, 4)
    moved = np.stack([0 * flat[0], flat.sum(0)]).ravel()
    amounts.CopyFrom(numpy_helper.from_array(moved, amounts.name))
    onnx.save(proto, wrong)
    same = verify_files(original, right, InputShapes())
    assert same.status is Status.EQUIVALENT
    assert "one rounding of each weight" in same.evidence[0].detail
    assert verify_files(original, right, InputShapes(), Tolerance(1e-5, scaled=True)).status is (
        Status.DIFFERENT
    )
    assert verify_files(original, wrong, InputShapes()).status is Status.DIFFERENT


def convolution(times: float, *, listed: bool = False, half: bool = False) -> onnx.ModelProto:
    """Return a convolution whose weight may be among the inputs, beside a tensor of float16."""
    weights = np.random.default_rng(0).standard_normal((3, 3, 3, 4)).astype(np.float32)
    tensors = [numpy_helper.from_array(weights * np.float32(times), "w")]
    if half:
        tensors.append(numpy_helper.from_array(np.ones((1, 1), np.float16), "unused"))
    node = helper.make_node("Conv", ["x", "w"], ["y"], "c", pads=[0, 1, 1, 1], strides=[1, 2])
    given = {"x": SHAPE, "w": weights.shape} if listed else {"x": SHAPE}
    return model([node], given, tensors)


@pytest.mark.parametrize("how", [{"listed": True}, {"half": True}])
def test_a_wrong_weight_is_found_whatever_else_a_model_holds(how: Any, tmp_path: Path) -> None:
    paths = saved(tmp_path, convolution(1.0, **how), convolution(1.002, **how))
    result = compare_files(*paths, InputShapes())
    assert result.status is Sameness.DIFFERENT
    assert result.first is not None and "1.002" in result.first.note


class Measured(Rounding):
    """Bounds that were measured."""

    bounds = ((0.0,), (1e-3,))
    given = ((np.zeros(3, np.float32),), (np.ones(3, np.float32),))


def rounded(apart: float, kind: Any = np.float32) -> Excused | None:
    """Return what excuses an output of magnitude 1 on the second of two sets of inputs."""
    ours = [(np.zeros(3, kind),), (np.asarray([1, 0.5, 0.25], kind),)]
    theirs = [ours[0], (ours[1][0] + kind(apart),)]
    matches = matched((["y"], ["y"]), ours, theirs, Tolerance(1e-4, scaled=True))
    assert not isinstance(matches, str)
    trial = Trial([], Run([], ""), [0, 1], [ours, theirs], matches)
    unequal = [item for item in matches if not item.equal]
    return Measured([], [], Path(), USUAL).explains(list(differing(trial, unequal)))


@pytest.mark.parametrize(("apart", "is_excused"), [(9e-4, True), (2e-3, False)])
def test_no_more_is_excused_than_rounding_gives(apart: float, is_excused: bool) -> None:
    found = rounded(apart)
    assert found == (Excused(1e-3, False, 1, 2) if is_excused else None)


def test_an_output_that_is_0_where_rounding_is_small_decides_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Measured, "bounds", ((0.0,), (1.0,)))
    found = rounded(0.5)
    assert found is not None and found.mute


def test_an_output_that_tells_something_decides_for_one_that_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours = [(np.float32([1, 2]), np.float32([3, 4])), (np.float32([5, 6]), np.float32([0, 0]))]
    monkeypatch.setattr(Measured, "given", ours)
    monkeypatch.setattr(Measured, "bounds", ((1e-6, 3.0), (1e-6, 0.0)))
    found = Measured([], [], Path(), USUAL).explains([(0, 1, ours[0][1], -ours[0][1])])
    assert found is not None and not found.mute and found.silent == (1,)
    assert "output 1 of the original decides nothing" in found.reason


def test_whole_numbers_are_never_excused() -> None:
    assert rounded(1, np.int64) is None


@pytest.mark.parametrize(
    ("apart", "bounds", "status"),
    [
        (9e-4, ((1e-3,), (1e-3,)), Status.EQUIVALENT),
        (2e-3, ((1e-3,), (1e-3,)), Status.DIFFERENT),
        (0.5, ((0.0,), (1.0,)), Status.EQUIVALENT),
        (0.5, ((1.0,), (1.0,)), Status.UNVERIFIED),
        (9e-4, (), Status.DIFFERENT),
    ],
)
def test_the_source_level_allows_for_rounding(
    apart: float, bounds: Any, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Measured, "bounds", bounds)
    ours = ((np.ones(3, np.float32),), (np.ones(3, np.float32),))
    monkeypatch.setattr(Measured, "given", ours)
    theirs = (ours[0], (ours[1][0] + np.float32(apart),))
    run, feeds = KerasRun("Keras", ours), [{"x": np.zeros(1)}] * 2
    tolerance = Tolerance(1e-5, scaled=True)
    found = compare_sources(run, theirs, tolerance, "", feeds, Measured([], [], Path(), USUAL))
    assert found.status is status
    sites = Verification(Status.EQUIVALENT, (Evidence("site", ""),))
    assert join((sites, found)).status is status


@given(st.sampled_from([(np.float32, 23), (np.float16, 10)]), st.integers(0, 2**31))
def test_a_neighbour_is_the_next_number_of_a_type(kind: Any, seed: int) -> None:
    dtype, bits = kind
    rng = np.random.default_rng(seed)
    values = (rng.standard_normal(50) * 2.0 ** rng.integers(-6, 7, 50)).astype(dtype)
    moved = neighbours(values, bits, rng)
    up, down = np.nextafter(values, dtype(np.inf)), np.nextafter(values, dtype(-np.inf))
    powers = np.frexp(values)[0] == 0.5
    assert np.all((moved == up) | (moved == down) | powers | (np.frexp(values)[0] == -0.5))
    assert np.all(moved != values)


def test_what_is_no_number_of_a_type_stays_as_it_is() -> None:
    rng = np.random.default_rng(0)
    largest = np.finfo(np.float32).max
    odd = np.float32([0, np.inf, -np.inf, np.nan])
    assert np.array_equal(neighbours(odd, 23, rng), odd, equal_nan=True)
    with np.errstate(all="raise"):
        assert np.isfinite(neighbours(np.full(9, -largest), 23, rng)).all()
    whole = np.arange(5)
    assert neighbours(whole, 23, rng) is whole
