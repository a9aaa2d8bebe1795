"""Time and peak memory of ``check`` and ``rewrite`` on graphs of 1k, 10k and 100k nodes.

Run ``python tests/bench/onnx_graphs.py [--nodes 1000 10000 100000] [--kind KIND ...]``.
The models are chains of Conv and Relu, every fourth Conv with auto_pad. ``per node`` is what one
more node costs: the difference to the smallest graph, over the difference in nodes. It must stay
the same from size to size. ``--profile N`` prints the most costly functions of ``check`` instead.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import pstats
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

from _measure import (
    Commands,
    Cost,
    Result,
    alternate,
    cells,
    describe,
    make,
    padaudit,
    print_table,
    python,
)

KINDS = ("plain", "weights", "unnamed", "unknown", "bodies")
BASELINE = (
    "import sys, onnx; onnx.save(onnx.shape_inference.infer_shapes(onnx.load(sys.argv[1])), "
    "sys.argv[2])"
)
SHOWN = 25


def commands(model: Path, out: Path) -> Commands:
    """Return the processes to compare on one graph."""
    rewrite = padaudit("rewrite", "--explicit", "--verify", "none", model, "-o", out)
    return {
        "padaudit check": padaudit("check", "--exit-zero", "--output-format", "concise", model),
        "padaudit rewrite --verify none": rewrite,
        "onnx.load + infer_shapes + save": python(BASELINE, model, out),
    }


def per_node(results: Sequence[Result], sizes: Sequence[int], index: int) -> list[str]:
    """Return what one more node costs since the smallest graph: microseconds and kilobytes."""
    small, result = results[0], results[index]
    if index == 0 or not (isinstance(small, Cost) and isinstance(result, Cost)):
        return ["", ""]
    more = sizes[index] - sizes[0]
    seconds, megabytes = result.seconds - small.seconds, result.megabytes - small.megabytes
    return [f"{seconds / more * 1e6:.0f} us", f"{megabytes / more * 1e3:.1f} kB"]


def run(kind: str, sizes: Sequence[int], rounds: int, folder: Path) -> None:
    """Measure one kind of graph at every size, and print."""
    out = folder / "out.onnx"
    found: dict[str, list[Result]] = {}
    for size in sizes:
        model = folder / f"{kind}{size}.onnx"
        make(kind, size, model)
        results = alternate(commands(model, out), rounds, lambda: out.unlink(missing_ok=True))
        for label, result in results.items():
            found.setdefault(label, []).append(result)
    print(f"{kind}:")
    table = []
    for label, results_of in found.items():
        for index, result in enumerate(results_of):
            cost = cells(result)
            more = per_node(results_of, sizes, index)
            table.append([label, f"{sizes[index]:,}", *cost[:2], *more, cost[2]])
    head = ("process", "nodes", "time", "peak memory", "time per node", "memory per node", "failed")
    print_table(head, table)


def profile(kind: str, size: int, folder: Path) -> None:
    """Print the functions of ``check`` that cost most, with file and line."""
    from padaudit.cli.app import main as padaudit_main

    model = folder / "model.onnx"
    make(kind, size, model)
    sys.argv = padaudit("check", "--exit-zero", "--output-format", "concise", model)[2:]
    profiler = cProfile.Profile()
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), suppress(SystemExit):
        profiler.runcall(padaudit_main)
    stats = pstats.Stats(profiler)
    stats.sort_stats("tottime").print_stats(SHOWN)
    stats.sort_stats("cumtime").print_stats("padaudit", SHOWN)


def main() -> None:
    """Measure or profile what the options say."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--kind", choices=KINDS, nargs="+", default=["plain"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", type=int, metavar="NODES")
    options = parser.parse_args()
    print(describe("padaudit", "onnx"), end="\n\n")
    for kind in options.kind:
        with tempfile.TemporaryDirectory() as name:
            if options.profile:
                profile(kind, options.profile, Path(name))
            else:
                run(kind, sorted(options.nodes), options.rounds, Path(name))


if __name__ == "__main__":
    main()
