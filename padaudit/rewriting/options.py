"""How a model is to be rewritten."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from padaudit.errors import UsageError
from padaudit.formats.shape_options import InputShapes
from padaudit.ir.site import Family
from padaudit.rewriting.plan import AUTO, Wishes

OPEN_SIZES = ("keep", "layer")
LAYOUTS = ("keep", "nhwc", "nchw")


@dataclass(frozen=True, slots=True)
class Options:
    """How to rewrite.

    Parameters
    ----------
    style : str
        ``pad`` (a padding operator in front), ``attrs`` (ONNX ``pads`` attribute) or ``auto``
        (a Pad in front of convolutions, the attribute where a Pad would cost time).
    verify : str
        ``auto`` (all levels that can run here), ``site``, ``model`` (must run) or ``none``.
    input_shapes : InputShapes
        Sizes that the user fixes.
    allow_unverified : bool
        Write even if no proof could be run.
    timeout : float
        Seconds for each process of the proof.
    freeze : bool
        Whether the given input shapes are written into the model (ONNX).
    observe : bool
        Whether the model is run once to learn sizes that inference loses (ONNX).
    opset : int or None
        The opset of the output: ONNX models are converted to it before anything else.
    hoist : str or None
        ``asymmetric`` or ``all``: explicit pads of convolutions go into Pad nodes (ONNX).
    copy_data : bool
        Whether external data is copied to the output's folder (ONNX).
    families : frozenset of str, or None
        The families of operators to rewrite; None for all.
    open_sizes : str
        What becomes of Keras layers whose amounts change with an open size: ``keep`` them, or
        ``layer``: put a `padaudit.keras.SamePadding` layer in front.
    architecture : Path or None
        The definition that a file of weights alone is of (Keras).
    layout : str
        ``nhwc``, ``nchw`` or ``keep``: where images have their channels (Keras to ONNX).
    trust_model : bool
        Whether Keras may run code that the model brings with it (tf-keras loads it).
    memory_mb : int or None
        Memory of each run in onnxruntime or Keras, in MiB.
    explicit : bool
        Whether implicit padding is made explicit.
    modernize : bool
        Whether what stops Keras 3 from loading a file of Keras 2 is repaired.
    inputs : Path or None
        A file of the user's own inputs, to prove the result on as well.
    provider : str or None
        The execution provider that onnxruntime runs whole models on; None for the CPU's.
    """

    style: str = AUTO
    verify: str = "auto"
    input_shapes: InputShapes = field(default_factory=InputShapes)
    allow_unverified: bool = False
    timeout: float = 600.0
    freeze: bool = False
    observe: bool = False
    opset: int | None = None
    hoist: str | None = None
    copy_data: bool = False
    families: frozenset[str] | None = None
    open_sizes: str = "keep"
    architecture: Path | None = None
    explicit: bool = True
    modernize: bool = False

    @property
    def word(self) -> str:
        """What names of outputs say."""
        return "explicit" if self.explicit else "modern"

    def definition(self, source: Path) -> Path:
        """Return the file whose definition is rewritten."""
        return self.architecture or source

    layout: str = "keep"
    trust_model: bool = False
    memory_mb: int | None = None
    inputs: Path | None = None
    provider: str | None = None

    @property
    def wishes(self) -> Wishes:
        """What the plan has to know."""
        return Wishes(
            self.hoist,
            self.families,
            fold=self.style == "attrs",
            open_layers=self.open_sizes == "layer",
        )

    def validate(self) -> None:
        """Refuse options that exclude each other.

        Raises
        ------
        UsageError
            If they do, or name something that does not exist.
        """
        if self.families is not None and not self.families:
            raise UsageError("--families names none")
        unknown = sorted((self.families or frozenset()) - {family.value for family in Family})
        if unknown:
            known = ", ".join(family.value for family in Family)
            raise UsageError(f"--families: there is no '{unknown[0]}'; there are {known}")
        if self.open_sizes not in OPEN_SIZES:
            raise UsageError(f"--open-sizes: there are {' and '.join(OPEN_SIZES)}")
        if self.hoist and self.style == "attrs":
            raise UsageError("--hoist makes Pad nodes of pads; it excludes --style attrs")
        if self.layout not in LAYOUTS:
            raise UsageError(f"--layout is one of {', '.join(LAYOUTS)}, not '{self.layout}'")
        self._refuse_idle("--provider", self.provider)
        self._refuse_idle("--inputs", self.inputs)
        if self.freeze and not self.input_shapes:
            raise UsageError("--freeze writes the sizes of --input-shape; give it")

    def _refuse_idle(self, option: str, value: object) -> None:
        if value is not None and self.verify in {"site", "none"}:
            raise UsageError(
                f"{option} is for whole models, which --verify {self.verify} does not run"
            )


def parse_families(option: str | None) -> frozenset[str] | None:
    """Read a comma-separated list of families (None: all of them).

    >>> sorted(parse_families("conv, max_pool"))
    ['conv', 'max_pool']
    """
    if option is None:
        return None
    return frozenset(part.strip() for part in option.split(",") if part.strip())
