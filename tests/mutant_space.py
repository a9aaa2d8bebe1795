"""The space of rewritten ONNX operators whose mutants have to be caught, and the judge of them.

One scenario is one operator (every one of ``rules/ops``) with a window, of a rank, at fixed or
open sizes, in an opset and a style. The judge runs mutants at more sizes than the proof does, on
other data, against the golden values of ``tests/rewriting/test_onnx_space.py``: a mutant that is
golden everywhere is no mutant.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto

import padaudit
from padaudit.formats.onnx.document import OnnxDocument
from padaudit.formats.shape_options import InputShapes
from padaudit.rewriting.apply import apply_plan
from padaudit.rewriting.edit import Plan
from padaudit.rewriting.options import Options
from padaudit.rewriting.plan import make_plan
from padaudit.rewriting.run import Loaded, loaded
from padaudit.verification.evidence import Status
from padaudit.verification.proof import prove_definition, prove_site_level

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent / "rewriting")]
from onnx_mutation import Mutant, mutants_of
from onnx_runs import in_child, session_of
from test_onnx_space import (
    CHANNELS_LAST,
    OPERATORS,
    Case,
    data_of,
    golden,
    laid_out,
    model_of,
    tolerance,
)
from test_onnx_space import in_padding_only as undefined

Array = np.ndarray[Any, Any]
WINDOWS: dict[str, tuple[Sequence[int], Sequence[int], Sequence[int]]] = {
    "dense": ((4, 3, 2), (3, 2, 1), (1, 1, 1)),
    "wide": ((3, 5, 4), (2, 3, 2), (1, 1, 1)),
    "sparse": ((1, 2, 3), (3, 4, 2), (1, 1, 1)),
    "dilated": ((3, 2, 2), (2, 3, 1), (2, 3, 1)),
}
"""Kernel, strides and dilations of the first axes."""
FIXED = {1: (9,), 2: (8, 11), 3: (5, 7, 6)}
OPSETS = (10, 11, 17)
"""Pad with attributes; with inputs, amounts clamped by Where; clamped by Max."""
STYLES = ("pad", "attrs")
MODES = ("SAME_UPPER", "SAME_LOWER")
VARIANTS: dict[str, Sequence[dict[str, Any]]] = {
    "AveragePool": ({}, {"count_include_pad": 1}),
    "QLinearAveragePool": ({}, {"count_include_pad": 1}),
    "ConvTranspose": ({}, {"output_padding": 1}, {"output_shape": 1}),
    "LpPool": ({"p": 3},),
    "FusedConv": ({"activation": "Relu"},),
}
Feeds = list[tuple[Case, int, dict[str, Array]]]


@dataclass(frozen=True)
class Scenario:
    """One operator and how it is rewritten."""

    case: Case
    opset: int
    style: str
    window: str

    @property
    def label(self) -> str:
        case, how = self.case, " ".join(f"{k}={v}" for k, v in self.case.attributes.items())
        sizes = "open" if "symbol" in case.open_axes else "fixed"
        rank = f"{len(case.kernel)}-D"
        parts = (case.op, rank, self.window, sizes, case.mode, f"opset {self.opset}", self.style)
        return ", ".join((*parts, how) if how else parts)


def scenarios() -> Iterator[Scenario]:
    """Yield the space; combinations that an operator does not have are left out."""
    for name, operator in OPERATORS.items():
        for rank, window, opset, style in product(operator.ranks, WINDOWS, OPSETS, STYLES):
            dilated = window == "dilated"
            if opset < operator.opset or (dilated and opset < operator.dilated):
                continue
            for kind, attributes in product(("fixed", "symbol"), VARIANTS.get(name, ({},))):
                fixed_only = name == "ConvTranspose" and "output_shape" in attributes
                if kind == "fixed" or not fixed_only:
                    mode = ("SAME_UPPER", "SAME_LOWER")[
                        (rank + len(window) + (kind == "fixed")) % 2
                    ]
                    case = _case(name, rank, window, kind, mode, attributes)
                    yield Scenario(case, opset, style, window)


def _case(
    op: str, rank: int, window: str, kind: str, mode: str, attributes: dict[str, Any]
) -> Case:
    kernel, strides, dilations = (tuple(part[:rank]) for part in WINDOWS[window])
    grouped = OPERATORS[op].grouped
    made = dict(attributes)
    if "output_padding" in made:
        made["output_padding"] = [max(stride - 1, 0) for stride in strides]
    if "output_shape" in made:
        made["output_shape"] = [size * s for size, s in zip(FIXED[rank], strides, strict=True)]
    dtype = {"NhwcMaxPool": "int8"}.get(op, "uint8" if "Q" in op or "Integer" in op else "float32")
    case = Case(
        op, kernel, strides, dilations, mode, (kind,) * rank, (FIXED[rank],),
        batch=1, open_batch=False, group=2 if grouped and rank == 2 else 1,
        channels=2, filters=4, dtype=dtype, optional=frozenset(["bias", "zero", "w_zero"]),
        attributes=made,
    )  # fmt: skip
    sizes = (FIXED[rank],) if kind == "fixed" else tuple(_sizes(case))
    return Case(**{**case.__dict__, "sizes": sizes})


def _sizes(case: Case) -> Iterator[tuple[int, ...]]:
    """Yield sizes of every remainder, up to beyond what the proof tries, axes out of step."""
    spans = [(k - 1) * d + 1 + 3 * s for k, d, s in _axes(case)]
    for step in range(max(spans) + 3):
        yield tuple(1 + (step + 5 * axis) % (span + 3) for axis, span in enumerate(spans))


def _axes(case: Case) -> Iterator[tuple[int, int, int]]:
    return zip(case.kernel, case.dilations, case.strides, strict=True)


# --- the proof ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Rewritten:
    """A scenario's model, and what a rewrite made of it."""

    scenario: Scenario
    original: Loaded
    plan: Plan
    model: ModelProto

    @property
    def strategy(self) -> str:
        return self.plan.edits[0].strategy

    def mutants(self) -> Iterator[Mutant]:
        return mutants_of(self.model)

    def verdict(self, model: ModelProto) -> Status:
        """Return what level "definition" and level 1 say of a model."""
        after = read(model)
        if after is None:
            return Status.DIFFERENT
        found = prove_definition(self.original, after, self.plan)
        if found.status is Status.EQUIVALENT:
            found = prove_site_level(self.original, after, self.plan, 60)
        return found.status


def rewritten(scenario: Scenario) -> Rewritten | None:
    """Rewrite a scenario's model; None where it stays as it is."""
    proto = model_of([scenario.case], scenario.opset)
    original = padaudit.load(proto)
    plan = make_plan(
        original.document, original.sites, scenario.style, Options().wishes, original.graph
    )
    if not plan.edits:
        return None
    applied = apply_plan(original.document, plan, original.graph)
    return Rewritten(scenario, original, plan, applied.document.model)


def read(model: ModelProto) -> Loaded | None:
    """Read a mutant again; None where that is refused."""
    try:
        source = model.SerializeToString()
        return loaded(OnnxDocument(None, ModelProto.FromString(source), source), InputShapes())
    except padaudit.errors.PadauditError:
        return None


# --- the judge ----------------------------------------------------------------------------


class Judge:
    """Tells by running whether a model computes what the operator means.

    Parameters
    ----------
    case : Case
        The operator.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.trials: list[tuple[dict[str, Array], list[Array]]] = []
        for feed in range(len(case.sizes)):
            for seed in (0, 101):
                data = data_of(case, feed, seed)
                self.trials.append(({"x0": laid_out(data, case)}, golden(case, data, 0)))
            if "MaxPool" in case.op and case.dtype == "float32":
                least = np.full_like(data, -np.inf)
                self.trials.append(({"x0": least}, golden(case, least, 0)))

    def golden(self, model: ModelProto) -> bool:
        """Tell whether every output is golden."""
        try:
            session = session_of(model.SerializeToString())
            return all(self._right(session.run(None, feed), want) for feed, want in self.trials)
        except Exception:  # onnxruntime raises many kinds
            return False

    def _right(self, got: Sequence[Array], wanted: Sequence[Array]) -> bool:
        relative, absolute = tolerance(self.case)
        for seen, right in zip(got, wanted, strict=False):
            value = np.moveaxis(seen, -1, 1) if self.case.op in CHANNELS_LAST else seen
            if value.shape != right.shape:
                return False
            near = np.isclose(value.astype(np.float64), right, rtol=relative, atol=absolute)
            if not (near | undefined(value, right)).all():
                return False
        return True


# --- the tally ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Tally:
    """What became of the mutants of one scenario.

    Parameters
    ----------
    scenario : Scenario
        The scenario.
    strategy : str
        How it was rewritten.
    fates : Counter of str
        ``caught``, ``equal`` (golden, so no mutant) and ``survived``.
    survivors : tuple of str
        What is wrong with those that the proof took for the original.
    """

    scenario: Scenario
    strategy: str
    fates: Counter[str]
    survivors: tuple[str, ...]


def tally(found: Rewritten, most: int | None = None) -> Tally:
    """Try mutants of a rewritten model; all of them, or as many as were asked for.

    Raises
    ------
    AssertionError
        If the rewritten model itself is not golden, or not proven.
    """
    judge = Judge(found.scenario.case)
    assert judge.golden(found.model), found.scenario.label
    assert found.verdict(found.model) is Status.EQUIVALENT, found.scenario.label
    mutants = list(found.mutants())
    random.Random(found.scenario.label).shuffle(mutants)
    fates: Counter[str] = Counter()
    survivors = []
    for mutant in mutants[:most]:

        def fate(model: ModelProto = mutant.model) -> str:
            if found.verdict(model) is not Status.EQUIVALENT:
                return "caught"
            return "equal" if judge.golden(model) else "survived"

        # A mutant that ends the process would end that of the proof, which says so.
        told = in_child(fate).replace("crashed", "caught")
        fates[told] += 1
        survivors += [mutant.label] * (told == "survived")
    return Tally(found.scenario, found.strategy, fates, tuple(survivors))
