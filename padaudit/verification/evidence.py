"""What was run, and what it showed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    decides : bool
        Whether a level that is unverified makes the whole so: the original was run, and a limit
        or a crash kept the rewritten model from it.
    """

    status: Status
    evidence: tuple[Evidence, ...] = ()
    first_difference: str | None = None
    reason: str = ""
    not_covered: tuple[str, ...] = ()
    error_map: ErrorMap | None = None
    decides: bool = False

    @property
    def max_abs(self) -> float:
        """Largest absolute difference at any level but ``source``, which has a tolerance."""
        return max((item.max_abs for item in self.evidence if item.level != "source"), default=0.0)

    @property
    def max_ulp(self) -> int:
        """Largest distance in representable numbers at any level but ``source``."""
        return max((item.max_ulp for item in self.evidence if item.level != "source"), default=0)


def join(levels: Sequence[Verification], *obligatory: str) -> Verification:
    """Join the verdicts of levels.

    A difference at any level decides. What could not be run is listed, and makes the
    whole unverified only if none of the obligatory ones was, nothing but the definition
    was checked, or the level says so (``decides``).
    """
    evidence = tuple(item for level in levels for item in level.evidence)
    missed = tuple(dict.fromkeys(_missed(levels)))
    for status in (Status.DIFFERENT, Status.UNVERIFIED):
        for level in levels:
            if level.status is status and (level.decides or status is Status.DIFFERENT):
                return replace(level, evidence=evidence, not_covered=missed)
    proven = {item.level for item in evidence}
    if obligatory and proven.isdisjoint(obligatory):
        reason = missed[0] if missed else f"the {obligatory[0]} level could not be run"
        return Verification(Status.UNVERIFIED, evidence, None, reason, missed)
    if not proven - {"definition"}:
        reason = missed[0] if missed else "nothing could be run"
        return Verification(Status.UNVERIFIED, evidence, None, reason, missed)
    return Verification(Status.EQUIVALENT, evidence, not_covered=missed)


def _missed(levels: Sequence[Verification]) -> Iterator[str]:
    for level in levels:
        yield from level.not_covered
        if level.status is Status.UNVERIFIED and level.reason:
            yield level.reason
