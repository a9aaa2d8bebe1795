"""Names and sizes of ONNX element types, as numpy has them, without numpy."""

from __future__ import annotations

import re
from typing import Final

from padaudit.formats.onnx.protos import TensorProto

_OWN_NAMES: Final = {"FLOAT": "float32", "DOUBLE": "float64", "STRING": "object"}
_BITS: Final = {"bool": 8, "complex64": 64, "complex128": 128, "bfloat16": 16}


def _name(word: str) -> str:
    if word in _OWN_NAMES:
        return _OWN_NAMES[word]
    eight = re.fullmatch(r"FLOAT(8|4)(E\w+)", word)
    return f"float{eight[1]}_{eight[2].lower()}" if eight else word.lower()


_NAMES: Final[dict[int, str]] = {
    code: _name(word) for word, code in TensorProto.DataType.items() if word != "UNDEFINED"
}
_CODES: Final[dict[str, int]] = {name: code for code, name in _NAMES.items()}


def dtype_name(code: int) -> str | None:
    """Return numpy's name of an ONNX element type (None where it has none).

    >>> dtype_name(1), dtype_name(17), dtype_name(0)
    ('float32', 'float8_e4m3fn', None)
    """
    return _NAMES.get(code)


def dtype_code(name: str | None) -> int:
    """Return the ONNX element type of a numpy name; 0 (undefined) where there is none.

    >>> dtype_code("float16"), dtype_code(None)
    (10, 0)
    """
    return _CODES.get(name or "", 0)


def item_size(code: int) -> int | None:
    """Return how many bytes an element takes; None where that is not a whole, fixed number.

    >>> item_size(1), item_size(16), item_size(22)
    (4, 2, None)
    """
    name = _NAMES.get(code, "")
    if name in _BITS:
        return _BITS[name] // 8
    if name.startswith("float8"):
        return 1
    bits = re.fullmatch(r"(?:u?int|float)(\d+)", name)
    return int(bits[1]) // 8 if bits and int(bits[1]) % 8 == 0 else None
