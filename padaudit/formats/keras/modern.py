"""What stops Keras 3 from loading a definition of Keras 2, and its repair.

Each function of `REPAIRS` looks at one layer's record, says what stops Keras 3 (one clause
each), and mends the record where a mended one means the same. ``rules/checks`` names them.

Sources: the signatures of ``keras.layers`` 3.15 and of ``tf_keras.layers`` 2.21; what is
refused was found by loading (``keras.src.legacy.saving``).
"""

from __future__ import annotations

import copy
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from padaudit.errors import InputError
from padaudit.formats.keras.config import call_offsets, parse_model
from padaudit.formats.keras.container import KerasDocument, is_model, read_archive
from padaudit.formats.keras.dialect import is_keras1
from padaudit.formats.keras.hdf5 import read_h5
from padaudit.formats.keras.renaming import recount_calls, rename_layers

Record = dict[str, Any]
Repair = Callable[[Record], Iterator[str]]
REPAIRS: Final[dict[str, Repair]] = {}
"""Repair by the name that ``rules/checks`` uses (the function's own name)."""

_ANY: Final = object()
_KERNEL: Final = {
    f"kernel_{part}": (_ANY,) for part in ("initializer", "regularizer", "constraint")
}
_NORMALIZATION: Final[dict[str, tuple[Any, ...]]] = {
    "renorm": (False,),
    "renorm_clipping": (None, {}),
    "renorm_momentum": (_ANY,),
    "fused": (_ANY,),
    "virtual_batch_size": (None,),
    "adjustment": (None,),
    "mode": (0,),
}
_RECURRENT: Final[dict[str, tuple[Any, ...]]] = {"time_major": (False,)}
_SUPERFLUOUS: Final[dict[str, Mapping[str, tuple[Any, ...]]]] = {
    **{f"DepthwiseConv{rank}D": {"groups": (1,), **_KERNEL} for rank in (1, 2)},
    **{f"SeparableConv{rank}D": {"groups": (1,), **_KERNEL} for rank in (1, 2)},
    **{f"Conv{rank}DTranspose": {"groups": (1,)} for rank in (1, 2, 3)},
    **{f"SpatialDropout{rank}D": {"noise_shape": (None,)} for rank in (1, 2, 3)},
    **{f"ConvLSTM{rank}D": _RECURRENT for rank in (1, 2, 3)},
    "BatchNormalization": _NORMALIZATION,
    "LSTM": _RECURRENT,
    "GRU": _RECURRENT,
    "RNN": _RECURRENT,
    "SimpleRNN": {**_RECURRENT, "implementation": (_ANY,)},
    "Attention": {"score_mode": ("dot",)},
    "MultiHeadAttention": {
        "query_shape": (_ANY,),
        "key_shape": (_ANY,),
        "value_shape": (_ANY,),
        "softmax_robust_masking": (False,),
    },
}
"""Arguments that Keras 3 refuses, by layer class, and the values that mean nothing."""

_EVERYWHERE: Final[Mapping[str, tuple[Any, ...]]] = {"input_dtype": (_ANY,)}
_REMOVED: Final = frozenset(
    {
        "CuDNNGRU",
        "CuDNNLSTM",
        "LocallyConnected1D",
        "LocallyConnected2D",
        "RandomHeight",
        "RandomWidth",
        "SlicingOpLambda",
        "TFOpLambda",
        "TensorFlowOpLayer",
        "ThresholdedReLU",
    }
)
_ARRAYS: Final = frozenset({"__ndarray__", "__numpy__", "ndarray"})
_WRAPPED: Final = ("layer", "backward_layer", "cell")
_OLD_MODULES: Final = ("tf_keras.", "keras.src.engine.", "keras.engine.")
"""Where modules of classes are in Keras 2 and tf-keras, and not in Keras 3."""
_MODULES: Final = {
    "Functional": ("keras.src.models.functional", "Functional"),
    "Model": ("keras.src.models.functional", "Functional"),
    "Sequential": ("keras", None),
}
"""Module and registered name of model classes in Keras 3."""


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something that stops Keras 3.

    Parameters
    ----------
    repair : str
        The key of `REPAIRS` that found it.
    layer : str
        The layer, or the model.
    what : str
        What it is, a clause.
    """

    repair: str
    layer: str
    what: str


def is_legacy(document: KerasDocument) -> bool:
    """Tell whether a document was not written by Keras 3."""
    return not (document.keras_version or "").startswith("3")


def holds_no_code(path: Path) -> bool:
    """Tell whether tf-keras can load a file without running code from it.

    Of archives it imports the modules that they name.
    """
    try:
        archive = zipfile.is_zipfile(path)
        config = (read_archive(path) if archive else read_h5(path)).config
    except InputError:
        return False
    if archive and not all(name.partition(".")[0] in _KERAS for name in _modules(config)):
        return False
    obstacles = modern_config(config)[1]
    return not any(obstacle.repair == lambda_code.__name__ for obstacle in obstacles)


_KERAS: Final = frozenset({"keras", "tf_keras"})


def _modules(config: Any) -> Iterator[str]:
    """Yield the modules that records name, of layers and of all that belongs to them."""
    waiting = [config]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if isinstance(item.get("module"), str):
                yield item["module"]
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)


def modernized(document: KerasDocument) -> KerasDocument:
    """Return a document in which everything is mended that can be; one of Keras 3 as it is."""
    if not is_legacy(document):
        return document
    return replace(document, config=modern_config(document.config)[0], modernized=True)


def modern_config(config: Mapping[str, Any]) -> tuple[Record, list[Obstacle]]:
    """Return a mended copy of a model's config, and what was wrong with it."""
    changed = copy.deepcopy(dict(config))
    obstacles = [
        Obstacle(name, _name(record), what)
        for record in _records(changed)
        for name, repair in REPAIRS.items()
        for what in repair(record)
    ]
    return changed, obstacles


def renamed_layers(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, str]:
    """Return the new names of layers by their old ones, inner models included.

    >>> layers = [{"class_name": "ReLU", "config": {"name": "a/b"}}]
    >>> record = {"class_name": "Sequential", "config": layers}
    >>> renamed_layers(record, modern_config(record)[0])
    {'a/b': 'a_b'}
    """
    pairs = zip(_layers(old), _layers(new), strict=True)
    names: dict[str, str] = {}
    for before, after in pairs:
        if _name(before) != _name(after):
            names[_name(before)] = _name(after)
        if is_model(before):
            names |= renamed_layers(before, after)
    return names


def _repair(function: Repair) -> Repair:
    REPAIRS[function.__name__] = function
    return function


@_repair
def list_config(record: Record) -> Iterator[str]:
    """A Sequential whose config is a list of layers gets a config with a name."""
    layers = record.get("config")
    if isinstance(layers, list):
        yield "the config of a Sequential is a list"
        record["config"] = {"name": str(record.get("name") or "sequential"), "layers": layers}


@_repair
def superfluous_arguments(record: Record) -> Iterator[str]:
    """Arguments that are gone, with values that meant nothing, are dropped."""
    config = _settings(record)
    for key, neutral in _refused(record).items():
        if key in config and (_ANY in neutral or config[key] in neutral):
            yield f"{record['class_name']} has no argument {key}"
            del config[key]
    for holder, initializer in _initializers(config):
        if "dtype" in initializer["config"]:
            yield f"an initializer has no argument dtype ({holder})"
            del initializer["config"]["dtype"]


@_repair
def meaningful_arguments(record: Record) -> Iterator[str]:
    """Arguments that are gone, and whose values meant something, have no repair."""
    config = _settings(record)
    for key, neutral in _refused(record).items():
        if key in config and _ANY not in neutral and config[key] not in neutral:
            yield f"{record['class_name']} has no argument {key}, which is {config[key]!r} here"


@_repair
def old_forms(record: Record) -> Iterator[str]:
    """Numbers, dtype policies and wrapped layers get the form in which Keras 3 writes them."""
    config = _settings(record)
    for key, value in config.items():
        if isinstance(value, dict) and (value.get("class_name") or value.get("type")) in _ARRAYS:
            yield f"{key} is a numpy object, not a number"
            config[key] = value.get("value")
    module = record.get("module")
    if isinstance(module, str) and module.startswith(_OLD_MODULES):
        yield f"a record is of the module {module}"
        kind = str(record["class_name"])
        record["module"], record["registered_name"] = _MODULES.get(kind, ("keras.layers", None))
    dtype = config.get("dtype")
    if isinstance(dtype, dict) and dtype.get("class_name") in ("Policy", "PolicyV1"):
        yield "the dtype policy is of an old class"
        config["dtype"] = (dtype.get("config") or {}).get("name", "float32")
    for key in _WRAPPED:
        inner = config.get(key)
        if not isinstance(inner, dict) or "class_name" not in inner:
            continue
        if "module" not in inner:
            yield f"the record of its {key} names no module"
            inner["module"], inner["registered_name"] = "keras.layers", None
        for ends in ("input_layers", "output_layers"):
            listed = _settings(inner).get(ends)
            if isinstance(listed, list) and len(listed) == 1 and isinstance(listed[0], list):
                yield f"the {ends} of its {key} are a list of one"
                inner["config"][ends] = listed[0]


@_repair
def slashes(record: Record) -> Iterator[str]:
    """Layers whose names have slashes get names without."""
    layers = _settings(record).get("layers")
    if not is_model(record) or not isinstance(layers, list):
        return
    names = [_name(layer) for layer in layers]
    new: dict[str, str] = {}
    for name in names:
        if "/" in name:
            yield f"a layer's name has a slash ('{name}')"
            new[name] = _free(name.replace("/", "_"), {*names, *new.values()})
    if new:
        rename_layers(record, new)


@_repair
def inner_calls(record: Record) -> Iterator[str]:
    """Calls of inner models are counted from 0.

    Keras 3 still counts those of functional ones from 1 where they are outputs of the whole
    (``get_tensor`` of ``keras.src.models.functional``).
    """
    if not is_model(record) or "input_layers" not in _settings(record):
        return
    spec = parse_model(record)
    sequential = {layer.name: layer.class_name == "Sequential" for layer in spec.layers}
    for name in sorted(call_offsets(spec)):
        if recount_calls(record, name, outputs=sequential[name]):
            yield f"the calls of the inner model '{name}' are counted from 1"


@_repair
def removed_layers(record: Record) -> Iterator[str]:
    """Layers that Keras 3 does not have can't be repaired."""
    name = str(record["class_name"])
    if is_keras1(name, _settings(record)):
        yield f"{name} is one of Keras 1"
    elif name in _REMOVED:
        function = _settings(record).get("function")
        yield f"{name}{f' ({function})' if isinstance(function, str) else ''} is gone"


@_repair
def changed_functions(record: Record) -> Iterator[str]:
    """Functions that Keras 3 computes otherwise under the same name can't be repaired."""
    for key, value in _settings(record).items():
        name = value.get("config", value.get("class_name")) if isinstance(value, dict) else value
        if key.endswith("activation") and name == "hard_sigmoid":
            yield f"the {key} is hard_sigmoid"


@_repair
def causal_separable(record: Record) -> Iterator[str]:
    """A causal separable convolution has no form in Keras 3 but an explicit one."""
    padding = _settings(record).get("padding")
    if record["class_name"] == "SeparableConv1D" and padding == "causal":
        yield "SeparableConv1D has no padding 'causal'"


@_repair
def lambda_code(record: Record) -> Iterator[str]:
    """Python bytecode in a Lambda is not run by default, and only by the Python that wrote it."""
    config = _settings(record)
    function = config.get("function")
    code = isinstance(function, list) or config.get("function_type") == "lambda"
    code = code or (isinstance(function, dict) and function.get("class_name") == "__lambda__")
    if record["class_name"] == "Lambda" and code:
        yield "a Lambda holds Python bytecode"
    for key, value in config.items():
        if key.endswith("activation") and value == "<lambda>":
            yield f"the {key} was a Python lambda, of which the file has no more than the word"


def _records(record: Record) -> Iterator[Record]:
    """Yield a model's record and those of all its layers; repairs may change them on the way."""
    yield record
    config = record.get("config")
    if not isinstance(config, dict):
        return
    layers = config.get("layers") if is_model(record) else None
    inner = [*(layers or []), *(config[key] for key in _WRAPPED if key in config)]
    for item in inner:
        if isinstance(item, dict) and isinstance(item.get("class_name"), str):
            yield from _records(item)


def _layers(record: Mapping[str, Any]) -> list[Record]:
    """Return the records of a model's layers, in either form of its config."""
    config = record["config"]
    return list(config if isinstance(config, list) else config["layers"])


def _refused(record: Record) -> Mapping[str, tuple[Any, ...]]:
    return {**_SUPERFLUOUS.get(str(record["class_name"]), {}), **_EVERYWHERE}


def _initializers(config: Record) -> Iterator[tuple[str, Record]]:
    for key, value in config.items():
        is_record = isinstance(value, dict) and isinstance(value.get("config"), dict)
        if key.endswith("_initializer") and is_record:
            yield key, value


def _settings(record: Record) -> Record:
    config = record.get("config")
    return config if isinstance(config, dict) else {}


def _name(record: Mapping[str, Any]) -> str:
    config = record.get("config")
    own = config.get("name") if isinstance(config, Mapping) else None
    return str(record.get("name") or own or record.get("class_name"))


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name
