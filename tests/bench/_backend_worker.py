"""Runs Keras layers on one backend: ``python _backend_worker.py FOLDER FIRST STEP``.

Needs Keras and numpy alone, of whatever version stands first on PYTHONPATH. The folder holds
``cases.json`` (layer and config of each case) and ``arrays.npz`` (input, truth and weights by
case). A line of JSON per case goes to standard output, as soon as the case has run.
"""

import json
import sys
from pathlib import Path

import numpy as np

ROUNDING = 1e-5


def main(folder, first, step):
    """Run every so many cases from a number on."""
    import keras

    records = json.loads((folder / "cases.json").read_text())
    arrays = np.load(folder / "arrays.npz")
    for index in range(first, len(records), step):
        print(json.dumps({"index": index, **outcome(keras, records[index], arrays, index)}))
        sys.stdout.flush()


def outcome(keras, record, arrays, index):
    """Run a case and compare it with its truth."""
    try:
        result = run(keras, record, record["config"], arrays, index)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return {
            "status": "error" if runs_valid(keras, record, arrays, index) else "unsupported",
            "error": text,
        }
    return compared(result, arrays[f"{index}.truth"])


def run(keras, record, config, arrays, index):
    """Build the layer, give it its weights, and call it."""
    layer = getattr(keras.layers, record["layer"])(**config)
    x = arrays[f"{index}.x"]
    layer.build(x.shape)
    if record["weights"]:
        layer.set_weights([arrays[f"{index}.w{i}"] for i in range(record["weights"])])
    return np.asarray(keras.ops.convert_to_numpy(layer(x)))


def runs_valid(keras, record, arrays, index):
    """Tell whether the layer runs without its padding; else the padding is not to blame."""
    try:
        run(keras, record, {**record["config"], "padding": "valid"}, arrays, index)
    except Exception:
        return False
    return True


def compared(result, truth):
    """Return how far a result is from the truth."""
    if result.shape != truth.shape:
        return {"status": "shape", "error": f"{result.shape} for {truth.shape}"}
    apart = float(np.abs(result.astype(np.float64) - truth).max())
    allowed = ROUNDING * max(1.0, float(np.abs(truth).max()))
    status = "exact" if apart == 0 else "rounding" if apart <= allowed else "wrong"
    return {"status": status, "apart": apart}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
