"""Which Keras backends compute a layer differently: the facts that ``rules/backends`` names."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from padaudit.ir.dims import Open
from padaudit.ir.site import Family, Padding, PaddingSite
from padaudit.padding.amounts import effective_kernel, same_overhang
from padaudit.padding.symbolic import ByRemainder
from padaudit.rules.load import divergences
from padaudit.rules.schema import Divergence

_MAX_CASES: Final = 4096
"""How many combinations of remainders are looked at where sizes are open."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis of a "same" window.

    Parameters
    ----------
    kernel, extent, stride : int
        The kernel, its extent with dilation, and the stride, in elements.
    total : int
        How much is padded; for a transposed convolution, how much is cropped.
    overhang : int
        The same before it is limited to 0: negative where the windows fall short.
    output_padding : int or None
        Of a transposed convolution.
    """

    kernel: int
    extent: int
    stride: int
    total: int
    overhang: int
    output_padding: int | None = None


Axes = Sequence[Axis]
Fact = Callable[[PaddingSite, Axes], bool]
FACTS: Final[dict[str, Fact]] = {}
"""Fact by the name that ``rules/backends`` uses (the function's own name)."""


def _fact(function: Fact) -> Fact:
    FACTS[function.__name__] = function
    return function


@_fact
def three_axes(site: PaddingSite, axes: Axes) -> bool:
    """The layer has three spatial axes."""
    return len(axes) == 3


@_fact
def ungrouped(site: PaddingSite, axes: Axes) -> bool:
    """The convolution has one group."""
    return site.group == 1


@_fact
def channels_last(site: PaddingSite, axes: Axes) -> bool:
    """The channels come after the spatial axes."""
    return site.op.attributes.get("data_format") != "channels_first"


@_fact
def strided(site: PaddingSite, axes: Axes) -> bool:
    """Some stride is larger than 1."""
    return any(axis.stride > 1 for axis in axes)


@_fact
def windows_fall_short(site: PaddingSite, axes: Axes) -> bool:
    """On some axis the windows end before the input does (a kernel smaller than the stride)."""
    return any(axis.overhang < 0 for axis in axes)


@_fact
def windows_fall_short_by_two(site: PaddingSite, axes: Axes) -> bool:
    """On some axis the windows end two elements or more before the input does."""
    return any(axis.overhang <= -2 for axis in axes)


@_fact
def odd_total(site: PaddingSite, axes: Axes) -> bool:
    """Some axis is padded, or cropped, unequally."""
    return any(axis.total % 2 for axis in axes)


@_fact
def padded_beyond_two(site: PaddingSite, axes: Axes) -> bool:
    """Some axis is padded whose kernel is not 2."""
    return any(axis.total and axis.kernel != 2 for axis in axes)


@_fact
def even_totals_unlike_mirrored(site: PaddingSite, axes: Axes) -> bool:
    """All totals are even, and read from the last axis to the first they are others."""
    totals = [axis.total for axis in axes]
    return not any(total % 2 for total in totals) and totals != totals[::-1]


@_fact
def even_kernel_without_output_padding(site: PaddingSite, axes: Axes) -> bool:
    """Some axis has an even effective kernel and output_padding 0."""
    return any(axis.extent % 2 == 0 and axis.output_padding == 0 for axis in axes)


def divergent(site: PaddingSite, version: str | None) -> list[Divergence]:
    """Return the measured divergences that concern a site.

    Parameters
    ----------
    site : PaddingSite
        Any site; only "same" padding of Keras layers diverges.
    version : str or None
        The Keras version that wrote the file. What a later version mended concerns only files
        of a version that had it.
    """
    concerned = (item for item in divergences() if not item.last or in_version(item, version))
    return foretold(site, concerned)


def foretold(site: PaddingSite, items: Iterable[Divergence]) -> list[Divergence]:
    """Return those divergences whose facts hold for a site (of some size, where it is open)."""
    if site.framework != "keras" or site.padding is not Padding.SAME_UPPER or not site.window:
        return []
    concerned = [item for item in items if site.family in item.families]
    variants = list(itertools.islice(_variants(site), _MAX_CASES)) if concerned else []
    return [
        item
        for item in concerned
        if any(all(FACTS[name](site, axes) for name in item.when) for axes in variants)
    ]


def in_version(item: Divergence, version: str | None) -> bool:
    """Tell whether a divergence was there in a Keras version."""
    found = re.match(r"3\.\d+", version or "")
    if found is None:
        return False
    minor = _key(found.group())
    return _key(item.first) <= minor and (not item.last or minor <= _key(item.last))


def divergence_text(found: Sequence[Divergence]) -> str:
    """Return divergences in words: who, what, and in which versions."""
    clauses = (f"{item.backend} {item.effect} {_versions(item)}" for item in found)
    return "; ".join(dict.fromkeys(clauses))


def _versions(item: Divergence) -> str:
    if not item.last:
        return f"(Keras {item.first} and newer)"
    return f"(Keras {item.first} to {item.last})"


def _key(minor: str) -> tuple[int, ...]:
    return tuple(int(part) for part in minor.split("."))


def _variants(site: PaddingSite) -> Iterator[Axes]:
    """Yield the axes of a site: of each remainder where sizes are open."""
    yield from itertools.product(*_by_axis(site))


def _by_axis(site: PaddingSite) -> Iterator[list[Axis]]:
    assert site.window is not None
    window = site.window
    extra = _output_padding(site)
    for place, (kernel, stride, dilation) in enumerate(
        zip(window.kernel_shape, window.strides, window.dilations, strict=True)
    ):
        extent = effective_kernel(kernel, dilation)
        totals = _transposed if site.family is Family.TRANSPOSED_CONV else _windowed
        yield [
            Axis(kernel, extent, stride, max(overhang, 0), overhang, extra[place])
            for overhang in totals(site, place)
        ]


def _windowed(site: PaddingSite, place: int) -> list[int]:
    """Return the overhang of an axis, at each remainder if its size is open."""
    assert site.window is not None
    window, size = site.window, site.input_size[place]
    kernel, stride, dilation = (
        values[place] for values in (window.kernel_shape, window.strides, window.dilations)
    )
    sizes = [size] if isinstance(size, int) else list(range(1, stride + 1))
    if not isinstance(size, int | Open):
        sizes = sizes if stride == 1 else []
    return sorted({same_overhang(item, kernel, stride, dilation) for item in sizes})


def _transposed(site: PaddingSite, place: int) -> list[int]:
    amounts = site.amounts[place]
    cases = amounts.cases if isinstance(amounts, ByRemainder) else (amounts,)
    return sorted({sum(pads) for pads in cases if pads is not None}) or [0]


def _output_padding(site: PaddingSite) -> list[int | None]:
    value = site.op.attributes.get("output_padding")
    rank = len(site.input_size)
    if isinstance(value, list | tuple) and len(value) == rank:
        return [item if isinstance(item, int) else None for item in value]
    return [value if isinstance(value, int) else None] * rank
