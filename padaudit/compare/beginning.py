"""Where two models begin to differ, when it is not (only) their padding that does.

Of the aligned operators, in the order of the original, the first one is looked for that reads
something else in the port. What gives the same on the same has no part in that, so the difference
is made by one of the operators that it hangs on, or between these and it.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from padaudit.compare.gap import RTOL
from padaudit.compare.unit import Unit
from padaudit.compare.weights import weight_difference
from padaudit.ir.graph import Graph
from padaudit.ir.op import Op
from padaudit.ir.site import PaddingSite
from padaudit.verification.differing_site import Result, search
from padaudit.verification.explicit_form import runnable
from padaudit.verification.locate import InOnnx, in_onnx
from padaudit.verification.model_level import FeedPair, Tolerance, on_provider
from padaudit.verification.point_difference import DifferingSite
from padaudit.verification.runner import Limits
from padaudit.verification.site_points import SiteMatch
from padaudit.verification.value_points import Names, Points, settled

if TYPE_CHECKING:
    from padaudit.rewriting.run import Loaded

UnitPair = tuple[Unit, Unit]
_UNTOLD: Final = frozenset({"Cast", "Identity", "Pad", "Transpose"})
_AFFINE: Final = "its weights agree: look at its bias and batch normalisation (epsilon, statistics)"
_PLAIN: Final = "it gives something else for the same: look at its kind and attributes"


class Cause(StrEnum):
    """What makes two models differ."""

    WEIGHTS = "weights"
    NORMALIZATION = "normalization"
    OPERATOR = "operator"
    INPUT = "input"
    BETWEEN = "between"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class FirstDifference:
    """The pair of operators at which two models begin to differ.

    Parameters
    ----------
    original, port : str
        Their ids.
    cause : Cause
        ``weights``, ``normalization`` (biases too) and ``operator``: they read the same and give
        something else; ``input``: what they read differs, and no aligned operator is in front
        of them; ``between``: what they read differs, and what is ``behind`` them gives the
        same; ``after``: they and all others give the same.
    note : str
        What it is, one clause.
    upstream : tuple of pairs of str
        The aligned operators next in front of them, where these give the same.
    """

    original: str
    port: str
    cause: Cause
    note: str
    upstream: tuple[tuple[str, str], ...] = ()

    @property
    def place(self) -> str:
        """Where it is, as seen from the port's operator."""
        where = {Cause.INPUT: "in front of", Cause.BETWEEN: "in front of", Cause.AFTER: "behind"}
        return f"{where.get(self.cause, 'at')} '{self.port}'"


def beginning(
    pairs: Sequence[UnitPair],
    models: tuple[Loaded, Loaded],
    feed: FeedPair,
    scratch: Path,
    limits: Limits,
    rtol: float = RTOL,
) -> FirstDifference | None:
    """Return where two models begin to differ; None if they can't be looked into.

    Parameters
    ----------
    pairs : sequence of pairs of Unit
        The aligned operators, in the order of the original.
    models : tuple of Loaded
        The models; operators of these ids are in them.
    feed : tuple of Mapping
        Inputs on which they differ.
    scratch : Path
        A folder that the caller removes.
    limits : Limits
        What one run may take.
    rtol : float
        How far apart what operators give may be, in parts of its magnitude.
    """
    inside: list[InOnnx] = []
    for model, values in zip(models, feed, strict=True):
        folder = Path(tempfile.mkdtemp(dir=scratch))
        form = runnable(model, folder, limits.timeout, memory_mb=limits.memory_mb)
        found = form if isinstance(form, str) else in_onnx(form, values, limits)
        if isinstance(found, str):
            return None
        inside.append(found)
    search_for = _Search((inside[0], inside[1]), limits, rtol)
    there = [pair for pair in pairs if search_for.sites(pair)]
    return search_for.beginning(there) if there else None


class _Search:
    """Two models that are run in ONNX."""

    def __init__(self, inside: tuple[InOnnx, InOnnx], limits: Limits, rtol: float) -> None:
        self.inside = inside
        self.rtol = rtol
        self.limits = limits
        self.points = Points(inside[0].model), Points(inside[1].model)

    def sites(self, pair: UnitPair) -> tuple[PaddingSite, PaddingSite] | None:
        """Return a pair as it stands in the models that are run."""
        ours, theirs = (
            item.sites.get(unit.id) for item, unit in zip(self.inside, pair, strict=True)
        )
        return None if ours is None or theirs is None else (ours, theirs)

    def beginning(self, pairs: Sequence[UnitPair]) -> FirstDifference | None:
        """Return where the models begin to differ."""
        reads = self._search(pairs, self._read)
        if reads.site is None:
            return self._at_the_end(pairs) if reads.compared else None
        pair = _named(pairs, reads.site)
        if pair is None:
            return None
        upstream = [(a, b) for a, b in pairs if a.position in pair[0].before]
        made = self._search(upstream, self._given).site
        if made is not None:
            return self._made_by(_named(upstream, made))
        ids = tuple((a.id, b.id) for a, b in upstream)
        differs = f"what '{pair[1].id}' reads "
        scaling = reads.site.scaling
        differs += f"is the original's {scaling}" if scaling else "differs"
        ends = [
            item.sites[unit.id].op.inputs[:1] for item, unit in zip(self.inside, pair, strict=True)
        ]
        if not upstream:
            note = f"{differs}: look at the preprocessing{self._only_one_has([], ends)}"
            return FirstDifference(pair[0].id, pair[1].id, Cause.INPUT, note)
        names = ", ".join(f"'{unit.id}'" for _, unit in upstream)
        note = f"{differs}, and what {names} gave agrees: look at what is in between"
        note += self._only_one_has(upstream, ends)
        return FirstDifference(pair[0].id, pair[1].id, Cause.BETWEEN, note, ids)

    def _at_the_end(self, pairs: Sequence[UnitPair]) -> FirstDifference | None:
        """Return what makes models differ whose operators all read the same."""
        last = [(a, b) for a, b in pairs if a.gives or not a.after] or list(pairs[-1:])
        result = self._search(last, self._given)
        if result.site is not None:
            return self._made_by(_named(last, result.site))
        if not result.compared:
            return None
        ours, theirs = last[-1]
        names = ", ".join(f"'{b.id}'" for _, b in last)
        ends = [item.model.graph.outputs for item in self.inside]
        note = f"what {names} gave agrees: look at what follows{self._only_one_has(last, ends)}"
        return FirstDifference(ours.id, theirs.id, Cause.AFTER, note)

    def _made_by(self, pair: UnitPair | None) -> FirstDifference | None:
        """Return that an operator gives something else for the same, and why."""
        if pair is None:
            return None
        ours, theirs = pair
        differs = weight_difference(ours, theirs)
        if differs:
            cause, note = Cause.WEIGHTS, differs
        elif differs is None:
            cause, note = Cause.OPERATOR, _PLAIN
        else:
            cause, note = Cause.NORMALIZATION, _AFFINE
        return FirstDifference(ours.id, theirs.id, cause, note)

    def _search(
        self, pairs: Sequence[UnitPair], tensors: Callable[[UnitPair], tuple[Names, ...]]
    ) -> Result:
        """Return the first pair whose tensors differ."""
        matches = []
        for pair in pairs:
            sites, names = self.sites(pair), tensors(pair)
            if sites is not None and names:
                matches.append(SiteMatch(pair[0].id, pair[1].id, *sites, names))
        return search(
            matches,
            (self.inside[0].model, self.inside[1].model),
            (self.inside[0].feed, self.inside[1].feed),
            on_provider(Tolerance(self.rtol, scaled=True)),
            rescaled=False,
            timeout=self.limits.timeout,
            memory_mb=self.limits.memory_mb,
        )

    def _read(self, pair: UnitPair) -> tuple[Names, ...]:
        """Return what a pair reads: in front of what pads it, or nearer."""
        sites = self.sites(pair)
        if sites is None:
            return ()
        ours, theirs = (points.ahead(site) for points, site in zip(self.points, sites, strict=True))
        return tuple((a, b) for a in ours for b in theirs)

    def _given(self, pair: UnitPair) -> tuple[Names, ...]:
        """Return what a pair gives, with its bias and batch normalisation."""
        sites = self.sites(pair)
        if sites is None:
            return ()
        ours, theirs = (
            points.behind(site) for points, site in zip(self.points, sites, strict=True)
        )
        return settled(ours, theirs)

    def _only_one_has(self, pairs: Sequence[UnitPair], ends: Sequence[Sequence[str]]) -> str:
        """Return what only one of the models has from operators to tensors, in brackets."""
        ours, theirs = (
            list(_between(graph, [sites[pair[place].id].op for pair in pairs], ends[place]))
            for place, (graph, sites) in enumerate(
                (item.model.graph, item.sites) for item in self.inside
            )
        )
        kinds = [Counter(op.op_type for op in side) for side in (ours, theirs)]
        sides = (("original", kinds[0] - kinds[1]), ("port", kinds[1] - kinds[0]))
        told = [f"only the {side} has {', '.join(sorted(left))}" for side, left in sides if left]
        told = told or list(_attributes_apart(ours, theirs))
        return f" ({'; '.join(told)})" if told else ""


def _named(pairs: Sequence[UnitPair], found: DifferingSite) -> UnitPair | None:
    """Return the pair that differs; None if that is what encloses several of them."""
    ids = found.id, found.other
    return next((pair for pair in pairs if (pair[0].id, pair[1].id) == ids), None)


def _between(graph: Graph, starts: Sequence[Op], ends: Sequence[str]) -> Iterator[Op]:
    """Yield what stands between operators and tensors, Pads and what moves axes aside."""
    seen = {op.name for op in starts}
    left = list(ends)
    while left:
        op = graph.producer(left.pop())
        if op is not None and op.name not in seen:
            seen.add(op.name)
            left += op.inputs
            if op.op_type not in _UNTOLD:
                yield op


def _attributes_apart(ours: Sequence[Op], theirs: Sequence[Op]) -> Iterator[str]:
    """Yield which attributes differ of operators that are the only ones of their kind."""
    for op in ours:
        alike = [[o for o in side if o.op_type == op.op_type] for side in (ours, theirs)]
        if not len(alike[0]) == len(alike[1]) == 1:
            continue
        a, b = op.attributes, alike[1][0].attributes
        for name in sorted(a.keys() | b.keys()):
            if a.get(name) != b.get(name):
                right, wrong = (_told(side.get(name, "unset")) for side in (a, b))
                yield f"{op.op_type} has {name} {right} in the original, {wrong} in the port"


def _told(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
