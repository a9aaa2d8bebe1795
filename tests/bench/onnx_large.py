"""Time and peak memory of ``check`` and ``rewrite`` on a model of 1.5 GB.

Run ``python tests/bench/onnx_large.py [--gigabytes 1.5] [--rounds 3] [--layout single|external]``.
The model is made first, chunk by chunk: a few convolutions with auto_pad and large matrices,
once with the weights in the file and once with external data. Each process is measured alone,
in turn with ``onnx.load`` and ``onnx.save`` of the same file, the file being in the page cache;
the best of the rounds counts. Needs three times the size on disk (``--folder``).
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from _measure import (
    Result,
    alternate,
    cells,
    describe,
    make,
    padaudit,
    print_table,
    python,
    ratio,
)

LOAD = "import sys, onnx; onnx.load(sys.argv[1])"
LOAD_STRUCTURE = "import sys, onnx; onnx.load(sys.argv[1], load_external_data=False)"
SAVE = "import sys, onnx; onnx.save(onnx.load(sys.argv[1]), sys.argv[2])"
SAVE_EXTERNAL = (
    "import sys, onnx; onnx.save(onnx.load(sys.argv[1]), sys.argv[2], save_as_external_data=True, "
    "location='copy.bin')"
)
LARGEST_PROTOBUF = 2**31 - 1


def single(model: Path, out: Path) -> dict[str, list[str]]:
    """Return the processes to compare on a model with its weights inside."""
    written = out / "out.onnx"
    rewrite = padaudit("rewrite", "--explicit", model, "-o", written, "--verify")
    return {
        "onnx.load": python(LOAD, model),
        "padaudit check": padaudit("check", "--exit-zero", model),
        "onnx.load + onnx.save": python(SAVE, model, written),
        "padaudit rewrite --verify none": [*rewrite, "none"],
        "padaudit rewrite --verify site": [*rewrite, "site"],
    }


def external(model: Path, out: Path) -> dict[str, list[str]]:
    """Return the processes to compare on a model with external data.

    The rewritten file refers to the same data file, which is why it stays in its folder;
    ``--copy-data`` does what ``onnx.save`` does.
    """
    beside = padaudit("rewrite", "--explicit", model, "-o", model.with_name("out.onnx"), "--verify")
    away = padaudit("rewrite", "--explicit", model, "-o", out / "out.onnx", "--copy-data")
    return {
        "onnx.load": python(LOAD, model),
        "onnx.load without the data": python(LOAD_STRUCTURE, model),
        "padaudit check": padaudit("check", "--exit-zero", model),
        "onnx.load + onnx.save": python(SAVE_EXTERNAL, model, out / "out.onnx"),
        "padaudit rewrite --copy-data --verify none": [*away, "--verify", "none"],
        "padaudit rewrite --verify none": [*beside, "none"],
        "padaudit rewrite --verify site": [*beside, "site"],
    }


LAYOUTS = {"single": single, "external": external}


def rows(results: dict[str, Result]) -> list[list[str]]:
    """Return a table row per process, with its ratios to ``onnx.load`` or load and save."""
    table = []
    for label, result in results.items():
        against = "onnx.load + onnx.save" if "rewrite" in label else "onnx.load"
        other = results[against] if label.startswith("padaudit") else None
        compared = [ratio(result, other), ratio(result, other, "megabytes")] if other else ["", ""]
        table.append([label, *cells(result)[:2], *compared, cells(result)[2]])
    return table


def run(layout: str, size: int, rounds: int, folder: Path) -> None:
    """Make one model, measure and print."""
    out = folder / "out"
    out.mkdir()
    model = folder / f"{layout}.onnx"
    make(layout, size, model)

    def clean() -> None:
        for path in (*out.iterdir(), model.with_name("out.onnx")):
            path.unlink(missing_ok=True)
        os.sync()

    results = alternate(LAYOUTS[layout](model, out), rounds, clean)
    stored = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    print(f"{layout}: {stored / 1e9:.2f} GB")
    head = ("process", "time", "peak memory", "time ratio", "memory ratio", "failed")
    print_table(head, rows(results))


def main() -> None:
    """Measure each layout."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--gigabytes", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layout", choices=LAYOUTS, action="append")
    parser.add_argument("--folder", type=Path, help="where the models are made (default: /tmp)")
    options = parser.parse_args()
    print(describe("padaudit", "onnx"), end="\n\n")
    size = int(options.gigabytes * 1e9)
    for layout in options.layout or LAYOUTS:
        if layout == "single" and size > LARGEST_PROTOBUF:
            print("single: left out, a protobuf holds no more than 2 GB\n")
            continue
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            run(layout, size, options.rounds, Path(name))


if __name__ == "__main__":
    main()
