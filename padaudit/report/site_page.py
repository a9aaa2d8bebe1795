"""One site explained: in words, as a drawing, and as code to paste."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from padaudit.audit.findings import amounts_text, times
from padaudit.ir.site import Family, Padding, PaddingSite, Window
from padaudit.padding.amounts import AxisPads, effective_kernel
from padaudit.report.jsonable import sentence
from padaudit.report.line import Line

_EDGE: Final = 4
_DECLARED: Final = {
    Padding.VALID: "pads nothing",
    Padding.SAME_UPPER: "declares 'same' padding (an odd element goes after)",
    Padding.SAME_LOWER: "declares SAME_LOWER padding (an odd element goes before)",
    Padding.CAUSAL: "declares 'causal' padding (everything goes before)",
    Padding.EXPLICIT: "states its padding itself",
}


def site_page(site: PaddingSite) -> Iterator[Line]:
    """Yield what an operator does with its border."""
    yield Line.assemble((site.id, "bold"), f" ({site.op.op_type})")
    yield Line("")
    if site.window is None:
        yield Line(sentence(site.unresolved or "its window is not known"))
        return
    yield from _words(site, site.window)
    if site.remark:
        yield Line(sentence(site.remark))
    pads = site.pads
    if pads is None or site.family is Family.TRANSPOSED_CONV:
        return
    if any(isinstance(size, int) for size in site.input_size):
        yield Line("")
        yield from _drawing(site, site.window, pads)
    if site.family is Family.CONV:
        yield Line("")
        yield from _code(site, site.window, pads)


def _words(site: PaddingSite, window: Window) -> Iterator[Line]:
    yield Line(
        f"It slides a {times(window.kernel_shape)} window with stride {times(window.strides)} and "
        f"dilation {times(window.dilations)} over an input of {times(site.input_size)}, "
        f"and {_DECLARED[site.padding]}."
    )
    what = "crops from its output" if site.family is Family.TRANSPOSED_CONV else "adds"
    if site.pads is not None:
        yield Line(f"That {what} (before, after): {amounts_text(site)}.")
        yield Line(f"The output has {times(site.output_size)} elements per channel.")
    elif site.by_remainder:
        yield Line(f"What it {what} depends on the size: {amounts_text(site)}.")
    else:
        yield Line(sentence(f"the amounts are not known: {site.unresolved or 'no size'}"))


def _drawing(site: PaddingSite, window: Window, pads: tuple[AxisPads, ...]) -> Iterator[Line]:
    """Draw each axis: padding as 0, input as dots, the first and last window as brackets."""
    yield Line("0 is padding, . is input; [ ] the first and the last window:", style="dim")
    for axis, (size, output) in enumerate(zip(site.input_size, site.output_size, strict=True)):
        if not isinstance(size, int) or not isinstance(output, int) or output < 1:
            continue
        before, after = pads[axis]
        extent = effective_kernel(window.kernel_shape[axis], window.dilations[axis])
        last = (output - 1) * window.strides[axis]
        cells = ["0"] * before + ["."] * size + ["0"] * after
        yield Line.assemble(
            (f"  axis {axis}  ", "dim"),
            _cells(cells, 0, extent),
            ("  ...  ", "dim"),
            _cells(cells, last, extent),
            (f"  ({before} + {size} + {after} elements)", "dim"),
        )


def _cells(cells: list[str], start: int, extent: int) -> Line:
    window = "".join(cells[start : start + extent])
    head = "".join(cells[max(start - _EDGE, 0) : start])
    tail = "".join(cells[start + extent : start + extent + _EDGE])
    return Line.assemble(head, ("[", "bold"), (window, "green"), ("]", "bold"), tail)


def _code(site: PaddingSite, window: Window, pads: tuple[AxisPads, ...]) -> Iterator[Line]:
    rank = window.rank
    amounts = ", ".join(f"({before}, {after})" for before, after in pads)
    keras = f"({amounts})" if rank > 1 else f"({pads[0][0]}, {pads[0][1]})"
    torch = ", ".join(f"{before}, {after}" for before, after in reversed(pads))
    onnx = [0, 0, *(before for before, _ in pads), 0, 0, *(after for _, after in pads)]
    yield Line("The same, explicitly:", style="bold")
    yield Line(f"  Keras    x = keras.layers.ZeroPadding{rank}D({keras})(x)")
    yield Line("           then the layer with padding='valid'")
    yield Line(f"  PyTorch  x = torch.nn.functional.pad(x, ({torch}))  # last axis first")
    yield Line("           then the layer with padding=0")
    yield Line(f"  ONNX     Pad(x, pads={onnx}, value=0.0)  # N, C, then spatial axes")
    yield Line("           then Conv without auto_pad and pads")
    yield Line(f"           or Conv with pads={onnx[2 : 2 + rank] + onnx[4 + rank :]}")
