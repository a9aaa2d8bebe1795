"""The form of the files in ``rules/``, validated by msgspec."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from padaudit.ir.site import Family, Padding

Positive = Annotated[int, msgspec.Meta(ge=1)]
Pair = tuple[int, int]
Severity = Literal["note", "warning", "error"]


class PaddingWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an operator declares padding: the attribute, and what its words mean."""

    attribute: str
    default: str
    values: dict[str, Padding]


class WindowWords(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which attributes hold the window, and where else it can be read.

    ``weight_input`` is the input slot of the weights (layout M, C/group, *kernel) whose
    shape gives the kernel where no attribute does.
    """

    kernel_shape: str
    strides: str
    dilations: str = ""
    group: str = ""
    pads: str = ""
    output_shape: str = ""
    weight_input: int | None = None
    kernel_default: Positive | None = None
    strides_default: Literal["ones", "kernel_shape"] = "ones"


class Operator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One operator of a table; ``rank`` is its number of spatial axes where it is fixed."""

    name: str
    domain: str = ""
    rank: Positive | None = None
    weight_input: int | None = None
    channels_last: bool = False
    channels_last_attribute: str = ""


class OpCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A worked case: documentation, test and golden at once (sizes per spatial axis)."""

    padding: str
    input: list[Positive]
    kernel: list[Positive]
    stride: list[Positive]
    dilation: list[Positive]
    pads: list[Pair]
    output: list[Positive]


class OpTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of ``rules/ops``: an operator family of one framework.

    ``display_when`` names facts of a site for which not every file can hold what a strategy
    would write, so that a fix is shown but not promised.
    """

    schema: Literal["padaudit.ops/1"]
    framework: Literal["keras", "onnx"]
    family: Family
    amounts: str
    strategies: list[str]
    source: str
    padding: PaddingWords
    window: WindowWords
    operators: list[Operator]
    cases: list[OpCase]
    kept: str = ""
    remark: str = ""
    pad_value: float | None = None
    leading_axes: int = 0
    zero_point_input: Positive | None = None
    display_when: list[str] = []


class Fix(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `padaudit rewrite` would do, and how safe that is."""

    action: str
    applicability: Literal["safe", "unsafe", "display"]


class Documentation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The page of a rule, one text per fixed heading."""

    what: str
    why: str
    example: str
    fix: str
    fine: str
    references: list[str]


class RuleCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operator on which the rule fires, or does not.

    ``input`` is the data tensor's shape: a number, ``"open"`` or ``"unknown"`` per axis.
    ``after`` names the operator in front of it, and ``keras_version`` the version that wrote
    the file, where that matters.
    """

    title: str
    fires: bool
    framework: Literal["keras", "onnx"]
    op: str
    attributes: dict[str, str | int | float | bool | list[int]]
    input: list[int | Literal["open", "unknown"]]
    domain: str = ""
    after: str = ""
    keras_version: str = ""


class DefinitionCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The record of a Keras layer or model, as JSON, on which a rule fires or does not."""

    title: str
    fires: bool
    definition: str


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule: when it fires, what it says, and its page.

    ``precedence`` orders rules of which a site gets one at most (0: not exclusive);
    the highest wins. ``repair`` names the repair whose need a rule about definitions reports
    (instead of ``when``), and ``definitions`` are its cases.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^PAD\d{3}$")]
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z]+(-[a-z]+)*$")]
    severity: Severity
    message: str
    help: str
    doc: Documentation
    cases: list[RuleCase]
    when: list[str] = []
    unless: list[str] = []
    precedence: int = 0
    fix: Fix | None = None
    repair: str = ""
    definitions: list[DefinitionCase] = []


class RuleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of ``rules/checks``: a family of rules."""

    schema: Literal["padaudit.checks/1"]
    rules: list[Rule]


Minor = Annotated[str, msgspec.Meta(pattern=r"^3\.\d+$")]
"""A minor version of Keras 3, as in ``3.9``."""


class Divergence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way in which "same" padding was measured to differ on one Keras backend.

    Parameters
    ----------
    backend : str
        The backend that differs from the others.
    families : list of Family
        The operators that it concerns.
    when : list of str
        Facts of the window that all hold; see `padaudit.audit.backends.FACTS`.
    effect : str
        What the backend does, a clause without a subject.
    first, last : str
        The Keras versions in which it does that; ``last`` is empty while it still does.
    cases : int
        How many of the measured configurations it concerns.
    """

    backend: Literal["tensorflow", "torch", "jax", "numpy"]
    families: list[Family]
    when: list[str]
    effect: str
    first: Minor
    cases: Positive
    last: Annotated[str, msgspec.Meta(pattern=r"^(3\.\d+)?$")] = ""


class BackendTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of ``rules/backends``: what was measured, in which versions, and by what.

    ``measured`` lists the Keras versions per backend, oldest first; ``cases`` counts the layer
    configurations that were run in each.
    """

    schema: Literal["padaudit.backends/1"]
    source: str
    runtimes: dict[str, str]
    measured: dict[str, list[str]]
    cases: Positive
    divergences: list[Divergence]
