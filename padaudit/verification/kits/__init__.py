"""Kits: with what each family of operators is proven alone."""

from __future__ import annotations

from padaudit.ir.graph import Graph
from padaudit.ir.site import Family, Window
from padaudit.rewriting.edit import Edit
from padaudit.verification.kits.convolution import convolution_kit, transposed_kit
from padaudit.verification.kits.kit import Kit, meaning_of
from padaudit.verification.kits.pooling import pool_kit, quantized_average_kit
from padaudit.verification.kits.quantized import conv_integer_kit, qlinear_conv_kit


def kit_of(edit: Edit, window: Window, graph: Graph) -> Kit:
    """Return the kit of an ONNX site as it was before it was edited.

    Parameters
    ----------
    edit : Edit
        The site, and what was done to it.
    window : Window
        Its window.
    graph : Graph
        The graph that holds it.
    """
    site, meaning = edit.site, meaning_of(edit)
    if site.family is Family.TRANSPOSED_CONV:
        return transposed_kit(site, window, meaning)
    if site.op.op_type == "ConvInteger":
        return conv_integer_kit(site, window, meaning, graph)
    if site.op.op_type == "QLinearConv":
        return qlinear_conv_kit(site, window, meaning, graph)
    if site.zero_point_input is not None:
        return quantized_average_kit(site, window, meaning)
    if site.family is Family.CONV:
        return convolution_kit(site, window, meaning)
    return pool_kit(site, window, meaning)
