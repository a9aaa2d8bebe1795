"""A line of text with styles, which needs no terminal library until it is shown on one."""

from __future__ import annotations

from dataclasses import dataclass

Part = str | tuple[str, str]


@dataclass(frozen=True, slots=True, init=False)
class Line:
    """One line (or paragraph) for people.

    Parameters
    ----------
    text : str
        The text.
    style : str
        A style in the words of rich (``bold red``); empty for none.
    """

    parts: tuple[tuple[str, str], ...]

    def __init__(self, text: str, style: str = "") -> None:
        object.__setattr__(self, "parts", ((text, style),))

    @classmethod
    def assemble(cls, *parts: Part | Line) -> Line:
        """Join texts, pairs of text and style, and lines.

        >>> Line.assemble("a ", ("b", "bold")).plain
        'a b'
        """
        line = cls("")
        found: list[tuple[str, str]] = []
        for part in parts:
            if isinstance(part, Line):
                found += part.parts
            else:
                found.append((part, "") if isinstance(part, str) else part)
        object.__setattr__(line, "parts", tuple(found))
        return line

    @property
    def plain(self) -> str:
        """The text without styles."""
        return "".join(text for text, _ in self.parts)
