"""What is known of a tensor without running the model."""

from __future__ import annotations

from dataclasses import dataclass

from padaudit.ir.dims import Shape


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Type of one tensor.

    Parameters
    ----------
    shape : Shape or None
        None where even the rank is unknown.
    dtype : str or None
        numpy's name of the element type (``float32``).
    cause : str or None
        Where the rank is unknown: which layer or node stopped the inference.
    constant : bool
        Whether the model holds the tensor's values (a weight).
    """

    shape: Shape | None
    dtype: str | None = None
    cause: str | None = None
    constant: bool = False
