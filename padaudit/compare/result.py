"""What a comparison of an original and its port found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from padaudit.compare.align import Alignment
from padaudit.compare.beginning import FirstDifference
from padaudit.compare.differences import PaddingDifference
from padaudit.compare.fix import Unfixed
from padaudit.compare.gap import Gap
from padaudit.compare.unlike import WindowDifference


class Sameness(StrEnum):
    """The verdict of a comparison."""

    SAME = "same"
    DIFFERENT = "different"
    UNVERIFIED = "unverified"


@dataclass(frozen=True, slots=True)
class Comparison:
    """An original and its port.

    Parameters
    ----------
    original, port : Path
        The files.
    status : Sameness
        ``unverified`` where the padding agrees and the models could not be run.
    alignment : Alignment
        Which padded operators are one and the same.
    differences : tuple of PaddingDifference
        Where padding differs.
    windows : tuple of WindowDifference
        Where windows differ.
    before, after : Gap or None
        How far the outputs are apart, as they are and with the padding corrected; None where
        that was not run.
    fixed : Path or None
        The corrected port, where one was written.
    unfixed : tuple of Unfixed
        Differences that could not be corrected in the port.
    reason : str
        What the verdict rests on, one clause.
    notes : tuple of str
        What else is to be said, one clause each.
    runtimes : tuple of str
        What ran the original and the port.
    first : FirstDifference or None
        Where the models begin to differ, with the padding corrected; None where the padding
        is all that differs, or that was not found out.
    """

    original: Path
    port: Path
    status: Sameness
    alignment: Alignment
    differences: tuple[PaddingDifference, ...]
    windows: tuple[WindowDifference, ...] = ()
    before: Gap | None = None
    after: Gap | None = None
    fixed: Path | None = None
    unfixed: tuple[Unfixed, ...] = ()
    reason: str = ""
    notes: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    first: FirstDifference | None = None
