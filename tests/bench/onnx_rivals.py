"""``check`` and ``rewrite`` against the tools that come nearest, on a MobileNetV2 of 14 MB.

Run ``python tests/bench/onnx_rivals.py [MODEL.onnx ...] [--rounds 5]``. Whole processes, in turn,
the best of the rounds. ``check`` against ``polygraphy inspect model --show layers attrs`` (goal: at
most 0.75 of its time); ``rewrite --verify none`` against onnxscript's optimizer and against
onnxsim with its explicit_auto_pad pass (goal: at most half of the faster). ``left`` counts the
operators whose auto_pad is still SAME in what each tool wrote: 0 where it did the same job.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from _measure import (
    Cost,
    Result,
    alternate,
    cells,
    describe,
    make,
    padaudit,
    print_table,
    python,
    ratio,
    version,
)

OPTIMIZE = (
    "import sys, onnx, onnxscript.optimizer as o; "
    "onnx.save(o.optimize(onnx.load(sys.argv[1])), sys.argv[2])"
)
PACKAGES = ("padaudit", "onnx", "polygraphy", "onnxscript", "onnxsim", "onnxruntime")
CHECK_GOAL, REWRITE_GOAL = 0.75, 0.5
OURS_PAD, OURS_ATTRS = "padaudit rewrite --style pad", "padaudit rewrite --style attrs"
ONNXSCRIPT, ONNXSIM = "onnxscript.optimizer", "onnxsim explicit_auto_pad"
NAMES = {OURS_PAD: "pad", OURS_ATTRS: "attrs", ONNXSCRIPT: "onnxscript", ONNXSIM: "onnxsim"}


def readers(model: Path) -> dict[str, list[str]]:
    """Return the processes that only look at a model."""
    found = {"padaudit check": padaudit("check", "--exit-zero", model)}
    if installed("polygraphy", "check's comparison"):
        show = ["inspect", "model", str(model), "--show", "layers", "attrs"]
        code = "from polygraphy.tools import main; main()"
        found["polygraphy inspect model"] = [*python(code), *show]
    return found


def rewriters(model: Path, out: Path) -> dict[str, list[str]]:
    """Return the processes that write an explicit model."""
    rewrite = padaudit("rewrite", "--explicit", "--verify", "none", model, "--style")
    target = {label: str(out / f"{name}.onnx") for label, name in NAMES.items()}
    found = {
        OURS_PAD: [*rewrite, "pad", "-o", target[OURS_PAD]],
        OURS_ATTRS: [*rewrite, "attrs", "-o", target[OURS_ATTRS]],
    }
    if installed("onnxscript", "its optimizer"):
        found[ONNXSCRIPT] = python(OPTIMIZE, model, target[ONNXSCRIPT])
    if installed("onnxsim", "its explicit_auto_pad"):
        passes = ["--enable-optimization", "explicit_auto_pad"]
        found[ONNXSIM] = [sys.executable, "-m", "onnxsim", str(model), target[ONNXSIM], *passes]
    return found


def installed(package: str, what: str) -> bool:
    """Tell whether a package is installed, and say so in one sentence where it is not."""
    if version(package) is None:
        print(f"{package} is not installed, so {what} is left out (pip install {package}).")
        return False
    return True


def implicit_left(path: Path) -> str:
    """Count the nodes of a written model whose auto_pad is SAME; needs onnx."""
    if not path.exists():
        return "-"
    model = importlib.import_module("onnx").load(path)
    count = sum(
        attribute.name == "auto_pad" and attribute.s.startswith(b"SAME")
        for node in model.graph.node
        for attribute in node.attribute
    )
    return str(count)


def compare(results: Mapping[str, Result], goal: float, left: Mapping[str, str]) -> None:
    """Print times, memory, and padaudit's ratio to the fastest rival beside the goal."""
    rivals = [
        result
        for label, result in results.items()
        if not label.startswith("padaudit") and isinstance(result, Cost)
    ]
    fastest = min(rivals, key=lambda cost: cost.seconds, default=None)
    table = []
    for label, result in results.items():
        ours = label.startswith("padaudit")
        cost = cells(result)
        table.append(
            [label, *cost[:2], ratio(result, fastest) if ours else "", left.get(label, ""), cost[2]]
        )
    print_table(("process", "time", "peak memory", f"ratio (goal {goal})", "left", "failed"), table)


def measure_model(model: Path, rounds: int, out: Path) -> tuple[dict[str, Result], ...]:
    """Measure the readers, then the rewriters, of one model."""
    return alternate(readers(model), rounds), alternate(rewriters(model, out), rounds)


def main() -> None:
    """Compare on each model given, or on the MobileNetV2 that is made."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("models", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(describe(*PACKAGES), end="\n\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = options.models
        if not models:
            models = [folder / "mobilenet_v2.onnx"]
            make("mobilenet", models[0])
        measured = []
        for index, model in enumerate(models):
            out = folder / str(index)
            out.mkdir()
            measured.append((model, out, *measure_model(model, options.rounds, out)))
        for model, out, read, written in measured:
            print(f"{model.name}: {model.stat().st_size / 1e6:.1f} MB")
            compare(read, CHECK_GOAL, {})
            left = {label: implicit_left(out / f"{NAMES[label]}.onnx") for label in written}
            compare(written, REWRITE_GOAL, left)


if __name__ == "__main__":
    main()
