"""What was run, and what it showed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """The verdict of a verification."""

    EQUIVALENT = "equivalent"
    DIFFERENT = "different"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One level of proof.

    Parameters
    ----------
    level : str
        ``site`` (each operator alone, exact), ``model`` (both models whole in
        onnxruntime), ``source`` (the original in Keras), ``definition`` (the written file
        read again).
    runtime : str
        What ran it.
    max_abs : float
        Largest absolute difference.
    max_ulp : int
        Largest distance in representable numbers.
    counts : dict
        How much was run: ``sites``, ``cases``, ``inputs``, ``outputs``.
    detail : str
        How it was run, in words.
    """

    level: str
    runtime: str
    max_abs: float = 0.0
    max_ulp: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verification:
    """The verdict, with its evidence.

    Parameters
    ----------
    status : Status
        ``unverified`` where nothing could be run.
    evidence : tuple of Evidence
        What was run.
    first_difference : str or None
        Id of the first site (or name of the output) that differs.
    reason : str
        Why it is different or unverified, one clause.
    not_covered : tuple of str
        What could not be run, and why, one clause each.
    """

    status: Status
    evidence: tuple[Evidence, ...] = ()
    first_difference: str | None = None
    reason: str = ""
    not_covered: tuple[str, ...] = ()

    @property
    def max_abs(self) -> float:
        """Largest absolute difference at any level but ``source``, which has a tolerance."""
        return max((item.max_abs for item in self.evidence if item.level != "source"), default=0.0)

    @property
    def max_ulp(self) -> int:
        """Largest distance in representable numbers at any level but ``source``."""
        return max((item.max_ulp for item in self.evidence if item.level != "source"), default=0)
