"""How many mutants of rewritten ONNX operators there are, and what the proof says of them.

``python tests/bench/mutants.py --every 20`` tries every twentieth scenario of the space in
``tests/mutant_space.py`` (all of them take hours), and prints what became of the mutants.
Those that are equal compute golden values at every size that was tried.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from mutant_space import rewritten, scenarios, tally
from onnx_runs import run_here

from padaudit.verification import site_level


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=20, help="try one scenario in so many")
    parser.add_argument("--first", type=int, default=0, help="begin with this one")
    given = parser.parse_args()
    site_level.run = run_here  # a process per mutant would take days
    fates: dict[str, Counter[str]] = defaultdict(Counter)
    for scenario in list(scenarios())[given.first :: given.every]:
        made = rewritten(scenario)
        if made is None:
            fates["(kept)"]["scenarios"] += 1
            continue
        found = tally(made)
        fates[found.strategy] += found.fates + Counter({"scenarios": 1})
        for label in found.survivors:
            print(f"survived: {scenario.label}, {found.strategy}: {label}")
    columns = ("scenarios", "caught", "equal", "survived")
    for strategy, counts in (*sorted(fates.items()), ("total", sum(fates.values(), Counter()))):
        print(f"{strategy:22}", *(f"{counts[name]:7} {name}" for name in columns))
    return bool(sum(counts["survived"] for counts in fates.values()))


if __name__ == "__main__":
    sys.exit(main())
