"""How far rounding alone moves the outputs of a model: measured, by moving its weights.

A runtime rounds every sum. What it computes is the exact result of a model whose weights are off
by a few roundings (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed., section
3.1). So where outputs move by some amount as every weight goes to a neighbouring number, two
runtimes, or two ways to write one model, can't be held to less: the network is ill-conditioned.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, numpy_helper

from padaudit.formats.onnx.external import all_tensors
from padaudit.verification.accepted import save
from padaudit.verification.compare import compare_arrays
from padaudit.verification.explicit_form import runnable
from padaudit.verification.keras_level import SOURCE_RTOL, by_position, input_names, precision
from padaudit.verification.model_level import Tolerance
from padaudit.verification.runner import Array, Job, Limits
from padaudit.verification.telling import telling

if TYPE_CHECKING:
    from padaudit.rewriting.run import Loaded

Feed = Mapping[str, Array]
MOST: Final = 1e-2
"""Of an output's magnitude: where rounding gives more, the output tells nothing."""
_TIMES: Final = 8
"""How many times the movement two runs may be apart: a sum is some roundings, not one."""
ORIGINAL: Final = "the original"
_SEEDS: Final = (1, 2, 3)
_MOST_AXES: Final = 8
_FLOATS: Final = (
    TensorProto.FLOAT,
    TensorProto.FLOAT16,
    TensorProto.BFLOAT16,
    TensorProto.DOUBLE,
)
_BITS: Final = {"float16": 10, "bfloat16": 7}
"""How many binary digits follow the leading one, where that are fewer than float32's 23."""


Differing = tuple[int, int, Array, Array]
"""A set of inputs and an output, and what two models gave there."""
_Outputs = Sequence[Sequence[Array]]
"""Per set of inputs, what a model gave."""


@dataclass(frozen=True, slots=True)
class Excused:
    """How far outputs may be apart that differ by no more than rounding gives.

    ``mute`` tells whether no output decides anything (`is_mute`), ``silent`` which ones do not;
    ``inputs`` counts on how many they differ, ``of`` all; ``whose`` is the model that was moved.
    """

    bound: float
    mute: bool
    inputs: int
    of: int
    silent: tuple[int, ...] = ()
    whose: str = ORIGINAL

    def tolerance(self, least: Tolerance) -> Tolerance:
        """Return what operators inside the models may differ by."""
        return replace(least, rtol=min(max(self.bound, least.rtol), MOST))

    @property
    def reason(self) -> str:
        """What was allowed, and why, one clause."""
        where = f"on {self.inputs} of {self.of} inputs"
        why = moved_by(self.bound, self.whose)
        text = f"{where} {self.bound:.2g} of the magnitude was allowed, as {why}"
        return text if self.mute else "; ".join((text, *undecided(self.silent)))


@dataclass(frozen=True)
class Rounding:
    """What rounding gives on some inputs; measured when it is first asked for.

    Parameters
    ----------
    models : sequence of Loaded
        The model that is moved, and those that it is compared with: the coarsest type that
        holds most of the weights of one says what one rounding is.
    feeds : sequence of Mapping
        Inputs of the first one, by name.
    scratch : Path
        A folder that does not exist.
    limits : Limits
        What one run may take.
    floor : float
        What is added to the magnitude of an output: below it no difference counts.
    whose : str
        What the first model is called.
    path : Path, optional
        The first model as onnxruntime runs it, where that is known.
    """

    models: Sequence[Loaded]
    feeds: Sequence[Feed]
    scratch: Path
    limits: Limits
    floor: float = 0.0
    whose: str = ORIGINAL
    path: Path | None = None

    @cached_property
    def _runs(self) -> tuple[_Outputs, Sequence[_Outputs]]:
        """What the model gives, and what it does with its weights moved; empty if it can't run."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        path = self._in_onnx()
        if path is None:
            return (), ()
        feeds = self.feeds
        if self.models[0].document.format != "onnx":
            feeds = by_position([list(feed.values()) for feed in feeds], input_names(path))
        plain = self._outputs(path, feeds)
        if plain is None:
            return (), ()
        moved = (self._moved(path, feeds, seed) for seed in _SEEDS)
        return plain, [outputs for outputs in moved if outputs is not None]

    @property
    def given(self) -> _Outputs:
        """What the first model gives per set of inputs; empty where it can't be run."""
        return self._runs[0]

    @cached_property
    def bounds(self) -> Sequence[tuple[float, ...]]:
        """How far apart runs may be, per set of inputs and output, in parts of its magnitude.

        Empty where that can't be measured. Outputs that are no floats have none: 0.
        """
        given, runs = self._runs
        return [
            tuple(
                max(
                    (_TIMES * _movement(a, run[feed][place], self.floor) for run in runs), default=0
                )
                for place, a in enumerate(values)
            )
            for feed, values in enumerate(given)
        ]

    def explains(self, differing: Sequence[Differing]) -> Excused | None:
        """Return how far rounding lets outputs be apart, if none is further; else None."""
        bounds = self.bounds
        if not bounds:
            return None
        for feed, output, ours, theirs in differing:
            limits = Tolerance(bounds[feed][output], scaled=True).bounds(ours)
            if not compare_arrays(theirs, ours, *limits).equal:
                return None
        silent = silent_outputs(self.given, bounds, self.floor)
        most = max(bounds[feed][output] for feed, output, _, _ in differing)
        inputs = len({feed for feed, *_ in differing})
        mute = len(silent) == len(bounds[0])
        return Excused(most, mute, inputs, len(bounds), silent, self.whose)

    def _in_onnx(self) -> Path | None:
        """Return the first model as onnxruntime runs it."""
        if self.path is not None:
            return self.path
        model, limits = self.models[0], self.limits
        if model.document.format == "onnx":
            form = runnable(model, self.scratch, limits.timeout, memory_mb=limits.memory_mb)
            return None if isinstance(form, str) else form.path
        from padaudit.rewriting.translate import runnable_translation

        found = runnable_translation(model, self.scratch, limits.timeout, limits.memory_mb)
        return None if isinstance(found, str) else found

    def _outputs(self, path: Path, feeds: Iterable[Feed]) -> _Outputs | None:
        (ran,) = self.limits.run([Job(path, tuple(feeds))])
        return ran.outputs

    def _moved(self, path: Path, feeds: Sequence[Feed], seed: int) -> _Outputs | None:
        """Run the model with its weights and inputs moved by one rounding each."""
        bits = min(_bits(model) for model in self.models)
        rng = np.random.default_rng(seed)
        model = onnx.load(path)
        for tensor in _weights(model):
            values = neighbours(numpy_helper.to_array(tensor), bits, rng)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        given = ({name: neighbours(a, bits, rng) for name, a in feed.items()} for feed in feeds)
        with tempfile.TemporaryDirectory(dir=self.scratch, ignore_cleanup_errors=True) as name:
            target = Path(name) / "moved.onnx"
            try:
                save(model, target)
            except OSError:  # no space for another copy
                return None
            return self._outputs(target, given)


def moved_by(bound: float, whose: str = ORIGINAL) -> str:
    """Return what a bound was measured as, one clause.

    >>> moved_by(0.008, "it")
    'one rounding of each weight and input of it moves its outputs by 0.001 of their magnitude'
    """
    what = f"{bound / _TIMES:.2g} of their magnitude"
    return f"one rounding of each weight and input of {whose} moves its outputs by {what}"


def silent_outputs(
    given: _Outputs, bounds: Sequence[Sequence[float]], floor: float = 0.0
) -> tuple[int, ...]:
    """Return the places of outputs that decide nothing: they are `is_mute`."""
    places = zip(zip(*given, strict=True), zip(*bounds, strict=True), strict=True)
    return tuple(place for place, each in enumerate(places) if is_mute(*each, floor))


def is_mute(values: Sequence[Array], bounds: Sequence[float], floor: float = 0.0) -> bool:
    """Tell whether an output decides nothing: rounding gives too much of all that changes it.

    It decides through inputs on which it is not 0 and its bound at most `MOST`. Where it is the
    same on all of these, they show no more than a bias.

    Parameters
    ----------
    values : sequence of ndarray
        The output per set of inputs.
    bounds : sequence of float
        How far apart runs of it may be, in parts of its magnitude and the floor.
    floor : float
        See `Rounding`.

    >>> zero, one = np.zeros(2), np.ones(2)
    >>> is_mute([zero, one], [0.0, 1.0]), is_mute([zero, one], [1.0, 0.001])
    (True, False)
    """
    left = [
        (array, bound)
        for array, bound in zip(values, bounds, strict=True)
        if (size := _magnitude(array)) > 0 and bound * (size + floor) <= MOST * size
    ]
    if not left or len(left) == len(values):
        return not left
    least = max(SOURCE_RTOL, *(bound for _, bound in left))
    return not telling([[array] for array, _ in left], Tolerance(least, scaled=True))


def undecided(silent: Sequence[int]) -> tuple[str, ...]:
    """Return what is to be said of outputs that are mute where others decide."""
    if not silent:
        return ()
    many = len(silent) > 1
    named = f"output{'s' if many else ''} {', '.join(map(str, silent))}"
    does, it = ("decide", "them") if many else ("decides", "it")
    why = f"nothing changes {it}, or rounding gives too much of {it} on all inputs that do"
    return (f"{named} of the original {does} nothing: {why}",)


def neighbours(values: Array, bits: int, rng: np.random.Generator) -> Array:
    """Return floats moved by one rounding of a type, up or down by chance.

    Parameters
    ----------
    values : ndarray
        Of any type; what is no float stays as it is. Where its own type is finer, they move as
        if they were stored in the other: by half the distance of two numbers at the most.
    bits : int
        How many binary digits the type has behind the leading one.
    rng : Generator
        What decides.

    >>> neighbours(np.float16([0, 1, 3]), 10, np.random.default_rng(0)).tolist()
    [0.0, 1.0009765625, 3.001953125]
    """
    if values.dtype.kind != "f":
        return values
    wide = values.astype(np.float64)
    _, exponents = np.frexp(wide)
    steps = np.where(wide == 0, 0.0, np.ldexp(1.0, exponents - 1 - bits))
    finer = np.finfo(values.dtype).nmant > bits
    chance = rng.uniform(-0.5, 0.5, wide.shape) if finer else rng.choice([-1.0, 1.0], wide.shape)
    with np.errstate(over="ignore"):
        moved = (wide + steps * chance).astype(values.dtype)
    return np.asarray(np.where(np.isfinite(moved), moved, values))


def _bits(model: Loaded) -> int:
    """Return how many binary digits most of a model's weights have."""
    document: Any = model.document
    if document.format != "onnx":
        return _BITS.get(precision(model) or "", 23)
    counts: Counter[int] = Counter()
    for tensor in _weights(document.model):
        name = TensorProto.DataType.Name(tensor.data_type).lower()
        counts[_BITS.get(name, 23)] += math.prod(tensor.dims)
    return max(counts, key=lambda bits: counts[bits], default=23)


def _weights(model: ModelProto) -> list[TensorProto]:
    """Return the tensors that are weights: what images are scaled by has a number per axis."""
    found = (tensor for tensor in all_tensors(model) if tensor.data_type in _FLOATS)
    return [tensor for tensor in found if len(tensor.dims) > 1 or sum(tensor.dims) > _MOST_AXES]


def _movement(a: Array, b: Array, floor: float) -> float:
    """Return how far an output moved, in parts of its magnitude."""
    if a.dtype.kind != "f" or a.shape != b.shape or not a.size:
        return 0.0
    wide = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.nan_to_num(np.abs(wide[0] - wide[1]), nan=0.0, posinf=0.0)
    magnitude = _magnitude(a) + floor
    return float(apart.max()) / magnitude if magnitude else 0.0


def _magnitude(values: Array) -> float:
    """Return the largest finite number of an array; text has 1."""
    if values.dtype.kind in "USO":
        return float(values.size > 0)
    wide = np.abs(values.astype(np.float64))
    return float(wide[np.isfinite(wide)].max(initial=0.0))
