"""What a node declares of its padding, where that contradicts itself."""

from __future__ import annotations

from padaudit.ir.site import Family, PaddingSite

VARYING = "its amounts are not the same for all sizes"
_CONVOLUTIONS = frozenset({Family.CONV, Family.TRANSPOSED_CONV})


def contradiction(site: PaddingSite) -> str | None:
    """Return why the padding that a site means can't be told, or None if it can.

    ``auto_pad`` counts where ``pads`` beside it are zeros or say the same, and in pools,
    where runtimes ignore ``pads`` then. A convolution with other ``pads`` is refused by
    onnxruntime, while shape inference lets ``pads`` count.
    """
    declared = site.op.attributes.get("pads")
    if not site.implicit or not isinstance(declared, list) or not any(declared):
        return None
    amounts = [pair[0] for pair in site.pads or ()] + [pair[1] for pair in site.pads or ()]
    if site.family not in _CONVOLUTIONS or declared == amounts:
        return None
    return f"auto_pad stands together with pads {declared}, and runtimes disagree on which counts"
