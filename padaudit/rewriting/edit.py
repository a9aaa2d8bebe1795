"""What a rewrite does and does not do, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from padaudit.ir.op import Op
from padaudit.ir.site import PaddingSite
from padaudit.padding.amounts import AxisPads

if TYPE_CHECKING:
    from padaudit.formats.keras.places import Place


@dataclass(frozen=True, slots=True)
class Edit:
    """A site that becomes explicit.

    Parameters
    ----------
    site : PaddingSite
        The site as it was.
    strategy : str
        Name of the strategy that rewrites it.
    pads : tuple of AxisPads, or None
        (before, after) per spatial axis, in elements of the input; None where they are
        computed when the model runs.
    note : str
        Why it has another form than was asked for, one clause; empty if it has that form.
    folded : Op or None
        The Pad that goes into the operator's own amounts.
    place : Place or None
        Keras: where the layer stands that is added.
    """

    site: PaddingSite
    strategy: str
    pads: tuple[AxisPads, ...] | None
    note: str = ""
    folded: Op | None = None
    place: Place | None = None

    @property
    def adds_padding(self) -> bool:
        """Whether any element is padded (a "same" 1x1 convolution pads nothing)."""
        return self.pads is None or any(map(any, self.pads))


@dataclass(frozen=True, slots=True)
class Kept:
    """An implicit site that stays, and why (a sentence's clause)."""

    site: PaddingSite
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All edits and all sites that are kept, in the order of the model."""

    edits: tuple[Edit, ...]
    kept: tuple[Kept, ...]


@dataclass(frozen=True, slots=True)
class Applied:
    """A rewritten definition.

    Parameters
    ----------
    document : object
        The new document (of the same format as the old one).
    created : dict
        Name of the padding operator by site id, where one was added.
    """

    document: Any
    created: dict[str, str] = field(default_factory=dict)
