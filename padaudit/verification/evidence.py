"""What was run, and what it showed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from padaudit.verification.error_map import ErrorMap


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
    setup : Mapping
        The same for an audit trail: shapes of the inputs, tolerances.
    """

    level: str
    runtime: str
    max_abs: float = 0.0
    max_ulp: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    detail: str = ""
    setup: Mapping[str, Any] = field(default_factory=dict)


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
    error_map : ErrorMap or None
        Where in its output the first differing site differs.
    """

    status: Status
    evidence: tuple[Evidence, ...] = ()
    first_difference: str | None = None
    reason: str = ""
    not_covered: tuple[str, ...] = ()
    error_map: ErrorMap | None = None

    @property
    def max_abs(self) -> float:
        """Largest absolute difference at any level but ``source``, which has a tolerance."""
        return max((item.max_abs for item in self.evidence if item.level != "source"), default=0.0)

    @property
    def max_ulp(self) -> int:
        """Largest distance in representable numbers at any level but ``source``."""
        return max((item.max_ulp for item in self.evidence if item.level != "source"), default=0)
