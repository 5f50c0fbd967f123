"""From a name to a native object: the only place that knows the whole way, and the only one that fills built/.

- `resolve(MODEL)`: what is meant: an entry and its weights, files, or a graph; no bytes fetched
- `architecture(model)`: its weightless canonical graph; no bytes fetched, for an entry
- `source(model)`: its graph with its weights, as they came; fetched and bound
- `canonical_of(model)`: the same in canonical form and fused: what writers take
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from zoo import registry
from zoo.changes import Changes as Changes
from zoo.changes import Surgery, checked, label_count, prepared_for
from zoo.errors import BadInput, UnknownModel, UsageError
from zoo.lock import files_of, model_name
from zoo.store import Store, default_store

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

    from zoo.converters.bind import Tensor
    from zoo.converters.frameworks import Framework
    from zoo.converters.runner import Runner
    from zoo.entry import ModelEntry, Weights
    from zoo.inference.predictor import Predictor
    from zoo.progress import Progress
    from zoo.tasks.processor import Processor

    ModelLike: TypeAlias = str | PathLike[str] | Sequence[str | PathLike[str]] | onnx.ModelProto | ir.Model

# the tasks of models whose outputs are scores of classes
CLASSIFIES = ("image-classification", "text-classification", "emotion", "text-direction", "text-recognition")
FORMS = "a registry name, a path to a model file, an onnx.ModelProto or an onnx_ir.Model"


@dataclass(frozen=True, slots=True)
class Model:
    """What is meant by MODEL: an entry with its weights, or files, or a graph in memory."""

    name: str
    entry: ModelEntry | None = None
    weights: Weights | None = None
    paths: tuple[Path, ...] = ()
    graph: ir.Model | None = None
    architecture: str | Path | ir.Model | None = None  # whose graph, where the files hold weights alone
    surgery: Surgery = Surgery()  # what is changed of the graph


def resolve(model: ModelLike, **changes: Unpack[Changes]) -> Model:
    """What `model` means. A registry name goes before a file of that name; `./name` is the file.

    Raises UnknownModel with the nearest names, BadInput for what is none of the forms, UsageError for unknown changes.
    """
    surgery, architecture = checked(changes), _architecture_of(changes)
    if isinstance(model, str) and not _is_path(model):
        entry, weights = registry.resolve(model)
        if architecture is not None:
            raise UsageError(f"{model!r} has an architecture of its own; architecture= is for files of weights")
        named = Model(model_name(entry, weights) if weights else entry.name, entry, weights, surgery=surgery)
        _check_surgery(named)
        return named
    if isinstance(model, (str, PathLike)):
        path = Path(model).expanduser()
        if not path.exists():
            raise BadInput(f"{path}: no such file or folder")
        return Model(str(path), paths=(path,), architecture=architecture, surgery=surgery)
    if isinstance(model, (list, tuple)):
        paths = tuple(Path(p).expanduser() for p in model)
        if missing := [p for p in paths if not p.exists()]:
            raise BadInput(f"{missing[0]}: no such file or folder")
        return Model(", ".join(map(str, paths)), paths=paths, architecture=architecture, surgery=surgery)
    return Model("the given graph", graph=_graph_of(model), surgery=surgery)


def _check_surgery(model: Model) -> None:
    """Raise UsageError for changes that an entry's own facts rule out."""
    assert model.entry is not None
    if model.surgery and model.weights is None:
        asked, parts = ", ".join(model.surgery.asked), ", ".join(model.entry.parts.values())
        raise UsageError(f"{asked}: {model.name!r} is made of other models: {parts}", hint="Change one of them.")
    if model.surgery.num_classes is not None and model.entry.task not in CLASSIFIES:
        raise UsageError(
            f"num_classes=: {model.name!r} is for {model.entry.task}, which tells no classes apart",
            hint="outputs= gives its features, on which a head can be trained.",
        )


def _architecture_of(changes: Changes) -> str | Path | ir.Model | None:
    architecture = changes.get("architecture")
    if architecture is None or isinstance(architecture, (str, Path)):
        return architecture
    return _graph_of(architecture)


def _is_path(text: str) -> bool:
    """Whether a string means a file: it is written as a path, or is none of the registry's names and there is one."""
    if text.startswith((".", "/", "~")):
        return True
    return not registry.is_known(text.partition(":")[0]) and Path(text).exists()


def _graph_of(model: Any) -> ir.Model:
    if type(model).__name__ == "ModelProto":
        from zoo.converters.readers.onnx import of_proto

        return of_proto(model)
    kind = f"{type(model).__module__}.{type(model).__name__}"
    if kind.startswith("onnx_ir") and type(model).__name__ == "Model":
        given: ir.Model = model
        return given
    raise BadInput(f"a {kind} is no model that can be opened: expected {FORMS}")


# ---- the graph


def pull(name: str, *, progress: Progress | None = None) -> list[Path]:
    """Fetch and verify every file of a model (of its parts too) that is not stored; their paths.

    Raises UnknownModel, FetchError or StoreError. What is stored takes no request.
    """
    entry, weights = registry.resolve(name)
    paths = [path for part in entry.parts.values() for path in pull(part, progress=progress)]
    if weights is not None:
        paths += [path for paths in _fetched(Model(name, entry, weights), progress=progress).values() for path in paths]
    return paths


def _fetched(model: Model, *, progress: Progress | None = None) -> dict[str, list[Path]]:
    """The paths of an entry's files, in the store, by role."""
    assert model.entry is not None and model.weights is not None
    store, weights = default_store(), model.weights
    _check_before_fetching(model)
    progress = progress or _progress(store, model)
    name = model_name(model.entry, weights)
    return {
        role: [store.fetch(f, name=name, progress=progress) for f in files] for role, files in weights.files.items()
    }


def _check_before_fetching(model: Model) -> None:
    """Try the changes on the weightless graph, where there is one and something would have to be fetched."""
    assert model.entry is not None
    if model.surgery and model.entry.architecture is not None and not _is_stored(default_store(), model):
        architecture(model)


def _is_stored(store: Store, model: Model) -> bool:
    """Whether there is nothing to fetch."""
    assert model.entry is not None and model.weights is not None
    name = model_name(model.entry, model.weights)
    return all(store.stored(file, name) for file in files_of(model.weights))


def _progress(store: Store, model: Model) -> Progress | None:
    """A bar on a terminal, where something has to be fetched."""
    if _is_stored(store, model):
        return None
    from zoo.progress import default

    return default()


def architecture(model: Model) -> ir.Model:
    """The weightless canonical graph, changed as asked. Of an entry that names an architecture nothing is fetched."""
    from zoo import architectures

    if (named := _named_architecture(model)) is not None:
        return model.surgery.on(architectures.load(named), _classes(model))
    from zoo.converters.bind import detach
    from zoo.converters.canonical import canonical

    return canonical(detach(source(model))[0])


def _classes(model: Model) -> int | None:
    """How many classes the published model tells apart, where its entry has a label for each."""
    if model.weights is None or model.entry is None or model.entry.task == "text-recognition":  # it has blanks besides
        return None
    dataset = model.weights.dataset
    return label_count(dataset) if dataset is not None and _has_labels(dataset) else None


def _named_architecture(model: Model) -> str | None:
    """The name of the architecture that the weights are bound to, if it is one of ours."""
    from zoo import architectures

    if model.entry is not None:
        return model.entry.architecture
    asked = model.architecture
    if not isinstance(asked, str):
        return None
    if architectures.is_known(asked):
        return asked
    if registry.is_known(asked.partition(":")[0]):
        return registry.resolve(asked)[0].architecture
    if not Path(asked).expanduser().exists():
        known = [*architectures.names(), *(row.name for row in registry.rows())]
        raise UnknownModel(asked, known, what="architecture")
    return None


def source(model: Model) -> ir.Model:
    """The graph with its weights, changed as asked, at the opset that it came with."""
    return model.surgery.on(_published(model), _classes(model))


def _published(model: Model) -> ir.Model:
    """The graph with its weights as published: bound by name, or as the model file has it."""
    if model.graph is not None:
        return model.graph
    if model.entry is not None and not model.weights:
        parts = ", ".join(model.entry.parts.values())
        raise UsageError(f"{model.name!r} is made of other models: {parts}", hint="Load one of them by its name.")
    if _named_architecture(model) is not None or model.architecture is not None:
        from zoo.converters.bind import bind

        weights = model.weights
        tensors = _tensors(model)
        rename = _rename(model, tensors)
        graph = _asked_graph(model, {rename.get(name, name) for name in tensors})
        return bind(graph, tensors, rename=rename, unused=weights.unused if weights else ())
    from zoo.converters import formats

    return formats.read(_model_paths(model))


def _asked_graph(model: Model, names: Container[str]) -> ir.Model:
    """The weightless graph that files of weights are bound to; `names` are those of their tensors."""
    from zoo import architectures

    if (named := _named_architecture(model)) is not None:
        return architectures.load(named)
    from zoo.converters import formats
    from zoo.converters.bind import detach

    asked = model.architecture
    assert asked is not None
    if isinstance(asked, (str, Path)):
        asked = formats.read((Path(asked).expanduser(),))
    return detach(asked, names)[0]


def _rename(model: Model, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    from zoo import architectures
    from zoo.converters.tensors import unprefixed

    if model.weights is not None and model.weights.rename:
        return architectures.renamed(model.weights.rename, tensors)
    return {} if model.entry is not None else unprefixed(tensors)


def _model_paths(model: Model) -> tuple[Path, ...]:
    return tuple(_fetched(model)["model"]) if model.weights is not None else model.paths


def _tensors(model: Model) -> dict[str, Tensor]:
    """The tensors of the weights files, lazy; shards together."""
    from zoo.converters import tensors

    paths = _fetched(model)["weights"] if model.weights is not None else model.paths
    found: dict[str, Tensor] = {}
    for path in paths:
        found |= tensors.read(path)
    return found


def weights(path: str | PathLike[str]) -> Mapping[str, Tensor]:
    """The tensors of any weights file by the names in it, lazy: np.asarray(tensor) maps or reads it.

    Nothing of the file is executed or imported. Raises BadInput, UnknownFormat, Malformed or Refused.
    """
    from zoo.converters import tensors

    return tensors.read(Path(fspath(path)).expanduser())


def canonical_of(model: Model, framework: str, part: str = "writer") -> ir.Model:
    """The bound graph in canonical form and fused, checked to have lowerings before anything is fetched.

    `part` is the module of the framework's whose lowerings they are: the writer's, or those of its source.
    """
    from zoo.converters.frameworks import framework as find
    from zoo.converters.whole import lowered, prepared

    lowers = find(framework).module(part).lowers
    if model.entry is not None and model.entry.architecture is not None and not _is_stored(default_store(), model):
        prepared(architecture(model), lowers)  # what can't be written is said before anything is fetched
    return lowered(source(model), lowers)


# ---- what users get


def load(
    model: ModelLike,
    framework: str = "torch",
    *,
    device: str | None = None,
    dtype: str | None = None,
    channels: str | None = None,
    **changes: Unpack[Changes],
) -> Any:
    """The model as a native object of a framework: faithful, in inference mode, every parameter trainable.

    `onnx` gives an onnx.ModelProto; `torch` a torch.nn.Module with the author's module tree and state_dict; `keras` a
    keras.Model. `dtype` (`float16`, `bfloat16`, ...) and `device` are applied as the framework does it; by default the
    model stays as published, on the CPU. One output is the tensor; several are a dict by the author's names.

    `channels` says where pictures have theirs: "last" is Keras' habit, and "first" what other frameworks have.

    Raises UnknownModel, MissingFramework, UnsupportedOps (before anything is fetched), BindError, FetchError.
    """
    from zoo.converters.frameworks import framework as find

    target, what = find(framework), resolve(model, **changes)
    _check_channels(target, channels)
    writer = target.module("writer")
    if framework == "onnx":
        if device not in (None, "cpu"):
            raise UsageError("an onnx.ModelProto has no device: leave device= out")
        return writer.write(_in_dtype(source(what), dtype, on_cpu=False))
    return _native(
        target, canonical_of(what, framework), device=device, dtype=dtype, channels=channels or target.layout
    )


def _check_channels(target: Framework, channels: str | None) -> None:
    """Raise UsageError for what is no layout, and for one that a framework doesn't have."""
    if channels not in (None, "first", "last"):
        raise UsageError(f"unknown channels={channels!r}", hint="Known: first, last.")
    if channels not in (None, target.layout) and "channels" not in target.asks:
        raise UsageError(f"channels={channels!r}: a {target.gives} has its channels {target.layout}")


def _native(
    target: Framework,
    bound: ir.Model,
    made_by: str = "write",
    *,
    device: str | None,
    dtype: str | None,
    channels: str,
) -> Any:
    """What a framework's writer makes of a canonical graph, told what it asks; the rest is done to what it has made."""
    writer = target.module("writer")
    told = {name: value for name, value in (("channels", channels), ("dtype", dtype)) if name in target.asks}
    native = getattr(writer, made_by)(bound, **told)
    return writer.placed(native, device=device, dtype=None if "dtype" in told else dtype)


def runner(
    model: ModelLike,
    framework: str = "onnx",
    *,
    device: str = "auto",
    dtype: str | None = None,
    compile: str = "auto",  # noqa: A002 - the public name
    **changes: Unpack[Changes],
) -> Runner:
    """The model as a Runner, which takes and gives numpy arrays by the graph's names: fast.

    A graph of the registry that ONNX Runtime has optimised for this processor is kept, and opens at once from then on.
    `device="cuda"` that can't be had is an error with the reason; `auto` takes the fastest that is here.

    With a `dtype` inputs and outputs are of it too, and arrays of bfloat16 are ml_dtypes'.

    Raises what `load` raises, and UsageError for a device, dtype or compile that is not supported.
    """
    from zoo.converters.frameworks import framework as find

    target, what = find(framework), resolve(model, **changes)
    if compile not in ("auto", "none"):
        problem = f"compile={compile!r} is not supported by this version of polyzoo yet"
        raise UsageError(problem, hint="Known: auto, none.")
    if framework != "onnx":
        from zoo.converters.whole import specs_of

        bound = canonical_of(what, framework)
        native = _native(target, bound, target.runs, device=None, dtype=dtype, channels="first")
        specs = specs_of(bound, dtype=dtype)
        made: Runner = target.module("runner").runner(native, *specs, device=device)
        return made
    return _onnx_runner(what, device, dtype)


def _onnx_runner(model: Model, device: str, dtype: str | None) -> Runner:
    from zoo.converters.writers.onnx import runner as ort

    is_ours = model.entry is not None and model.weights is not None
    if is_ours and ort.is_cpu(device):
        return ort.open_built(_built(model, dtype), device="cpu")
    in_memory = model.graph is not None or model.architecture is not None or bool(model.surgery) or not _is_onnx(model)
    if is_ours or in_memory or dtype is not None:
        from zoo.converters.writers.onnx.writer import session

        return session(_in_dtype(source(model), dtype, on_cpu=ort.is_cpu(device)), device=device)
    return ort.open_session(model.paths[0], device=device)


def _in_dtype(bound: ir.Model, dtype: str | None, *, on_cpu: bool) -> ir.Model:
    """The graph in a dtype. ONNX Runtime has no kernels for bfloat16 on a CPU: there each node computes in float32."""
    if dtype is None:
        return bound
    from zoo.converters.dtypes import cast, computed_in_float32, dtype_of

    made = cast(bound, dtype)
    return computed_in_float32(made, dtype_of(dtype)) if on_cpu and dtype == "bfloat16" else made


def _is_onnx(model: Model) -> bool:
    from zoo.converters import formats

    return len(model.paths) == 1 and formats.find(model.paths[0]).name == "onnx"


def _built(model: Model, dtype: str | None = None) -> Path:
    """The folder with the graph as ONNX Runtime has optimised it for this processor; made where it is missing."""
    from zoo.converters.writers.onnx import runner as ort
    from zoo.keys import key

    store, files = default_store(), _fetched(model)
    facts = {
        "framework": ["onnxruntime", ort.version()],
        "digests": {role: [path.name for path in paths] for role, paths in files.items()},
        "recipe": recipe(model),
        "dtype": dtype,
    }
    name = key("onnx", facts)
    if (folder := store.built(name)) is not None:
        return folder
    from zoo.converters.writers.onnx.writer import save

    with store.build(name) as folder:
        bound = save(_in_dtype(source(model), dtype, on_cpu=True), folder / "bound.onnx", inline=False)
        ort.optimise(bound[0], folder)
        for path in bound:
            path.unlink()
    built = store.built(name)
    assert built is not None
    return built


def recipe(model: Model) -> dict[str, Any]:
    """All that decides over the bound graph besides the bytes of its files."""
    import hashlib

    from zoo import architectures

    assert model.entry is not None and model.weights is not None
    entry, weights = model.entry, model.weights
    used = [architectures.path_of(entry.architecture)] if entry.architecture else []
    used += [architectures.rename_path(weights.rename)] if weights.rename else []
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in used]
    facts = {"architecture": entry.architecture, "tables": digests, "unused": list(weights.unused)}
    return facts | {"changes": model.surgery.asked}


def processor(model: ModelLike, framework: str = "numpy", **changes: Unpack[Changes]) -> Processor:
    """The publisher's preprocessing, and the labels: raw inputs to arrays, outputs to answers.

    With another framework `prepare` and `batch` give its tensors. Raises UnknownModel; BadInput for a model that is not
    of the registry, since a model file does not say how its inputs were prepared.
    """
    what = resolve(model, **changes)
    made = _processor(what)
    if framework == "numpy":
        return made
    from zoo.converters.frameworks import framework as find
    from zoo.tasks.framed import Framed

    return Framed(made, find(framework).module("runner").from_numpy)


def _processor(model: Model) -> Processor:
    from zoo import tasks

    return tasks.processor(**processor_facts(model))


def processor_facts(model: Model) -> dict[str, Any]:
    """The arguments of `zoo.tasks.processor`: plain data and paths."""
    if model.entry is None:
        raise BadInput(
            f"{model.name}: a model file does not say how its inputs are prepared",
            hint="Use zoo.runner, which takes arrays, or write an entry for it in a catalog of your own.",
        )
    if model.weights is None:
        return {
            "task": model.entry.task,
            "parts": {part: processor_facts(resolve(name)) for part, name in model.entry.parts.items()},
        }
    weights, store = model.weights, default_store()
    _check_before_fetching(model)
    name = model_name(model.entry, weights)
    files = {
        role: store.fetch(files[0], name=name, progress=_progress(store, model))
        for role, files in weights.files.items()
        if role not in ("weights", "model")
    }
    facts = {
        "task": model.entry.task,
        "input": weights.input,
        "output": weights.output,
        "labels": weights.dataset if weights.dataset and _has_labels(weights.dataset) else None,
        "files": files,
    }
    return prepared_for(facts, model.surgery)


def _has_labels(dataset: str) -> bool:
    from zoo.tasks import labels

    return dataset in labels.names()


def predictor(
    model: ModelLike,
    framework: str = "onnx",
    *,
    device: str = "auto",
    dtype: str | None = None,
    compile: str = "auto",  # noqa: A002 - the public name
    batch_size: int | str = "auto",
    **changes: Unpack[Changes],
) -> Predictor:
    """The model with its preprocessing: raw inputs to typed answers.

    `predictor("photo.jpg")` gives one answer, a list gives a list, `predictor.stream(iterable)` an iterator in order.
    Raises what `runner` and `processor` raise.
    """
    from zoo.inference.predictor import Predictor

    what = resolve(model, **changes)
    options: dict[str, Any] = {"device": device, "dtype": dtype, "compile": compile}
    made = _processor(what)
    if what.entry is not None and what.weights is None:
        runners = {part: runner(name, framework, **options) for part, name in what.entry.parts.items()}
        return Predictor(runners, made, batch_size=batch_size)  # type: ignore[arg-type]
    return Predictor(runner(model, framework, **options, **changes), made, batch_size=batch_size)  # type: ignore[arg-type]
