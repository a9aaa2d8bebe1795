"""What a full proof costs: a proven rewrite against the two onnxruntime runs themselves.

Run ``python tests/bench/proof_cost.py [--rounds 5]``. Whole processes, alternated in one run:
``padaudit rewrite --explicit`` of MobileNetV2 (224 x 224, ImageNet's top) with every level of
proof, and two bare processes that each import onnxruntime, load the original or the rewritten
model without graph optimisations and run it on the inputs of the proof. Wall time and the
processor time of each with its children; the least of all rounds. Goal: at most 3 times.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from _measure import QUIET, describe, make, padaudit, print_table, python

GOAL = 3.0
BARE = """
import sys
import numpy as np
import onnxruntime as ort
options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
options.intra_op_num_threads = 2
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
name = session.get_inputs()[0].name
for seed in range(3):
    data = np.random.default_rng(seed).standard_normal((1, 3, 224, 224)).astype(np.float32)
    session.run(None, {name: data})
"""


@dataclass(frozen=True)
class Spent:
    """Wall time and processor time in seconds."""

    wall: float
    processor: float


def spent(commands: Sequence[Sequence[str]]) -> Spent:
    """Run processes one after the other; what they and their children took."""
    start, before = time.perf_counter(), os.times()
    for command in commands:
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env={**os.environ, **QUIET})
    after = os.times()
    used = after.children_user + after.children_system
    used -= before.children_user + before.children_system
    return Spent(time.perf_counter() - start, used)


def main() -> int:
    """Measure, print a table, and return 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        model, target = Path(name) / "mobilenet.onnx", Path(name) / "explicit.onnx"
        make("mobilenet", model)
        proven = [padaudit("rewrite", "--explicit", model, "-o", target)]
        plain = [padaudit("rewrite", "--explicit", "--verify", "none", model, "-o", target)]
        runs = [python(BARE, model), python(BARE, target)]
        spent(proven)
        kinds = {"proven rewrite": proven, "unproven rewrite": plain, "the two runs": runs}
        found: dict[str, list[Spent]] = {kind: [] for kind in kinds}
        for _ in range(rounds):
            for kind, commands in kinds.items():
                found[kind].append(spent(commands))
    best = {
        kind: Spent(min(item.wall for item in all_), min(item.processor for item in all_))
        for kind, all_ in found.items()
    }
    base = best["the two runs"]
    print(describe("padaudit", "numpy", "onnx", "onnxruntime"))
    print_table(
        ("what", "wall s", "processor s", "wall / runs", "processor / runs"),
        [
            (
                kind,
                f"{item.wall:.2f}",
                f"{item.processor:.2f}",
                f"{item.wall / base.wall:.2f}",
                f"{item.processor / base.processor:.2f}",
            )
            for kind, item in best.items()
        ],
    )
    ratio = best["proven rewrite"].processor / base.processor
    print(f"goal: at most {GOAL:g} times the processor time of the two runs; {ratio:.2f}")
    return int(ratio > GOAL)


if __name__ == "__main__":
    sys.exit(main())
