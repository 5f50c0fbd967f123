"""One table: what each file format is called, how it is recognised, and what reads and writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import BadInput, UnknownFormat

if TYPE_CHECKING:
    import onnx_ir as ir

HEAD_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Format:
    """A file format of whole models. `module` has sniff(path, head) and read(path, *others) -> bound graph.

    A model may be a folder, whose head is empty; it may be in several files, of which the first is the architecture.
    """

    name: str
    title: str
    extensions: tuple[str, ...]
    module: str = ""  # of converters/readers; empty where it is only written
    others: str = ""  # what the further files of a model in several hold; empty where it is in one

    def sniff(self, path: Path, head: bytes) -> bool:
        """Whether a file is of this format, by its first bytes (and its path: HDF5's root has to be looked into)."""
        found: Callable[[Path, bytes], bool] = import_module(f"zoo.converters.readers.{self.module}").sniff
        return found(path, head)

    def read(self, path: Path, *others: Path) -> ir.Model:
        """The graph with its weights, lazy. Raises FileError, and BadInput for files that don't belong to it."""
        if others and not self.others:
            hint = "Give one model file, or name weights of a known model by architecture=."
            raise BadInput(f"{len(others) + 1} files, and {self.title} ({path.name}) has a model in one", hint=hint)
        model: ir.Model = import_module(f"zoo.converters.readers.{self.module}").read(path, *others)
        return model


MODELS = (
    Format("keras-hdf5", "Keras 1 and 2, HDF5 with an architecture", (".h5", ".hdf5", ".keras"), "keras_hdf5"),
    Format("keras-archive", "Keras 3, an archive with architecture and weights", (".keras",), "keras_archive"),
    Format(
        "keras-json", "Keras, the architecture as JSON beside a file of weights", (".json",), "keras_json", "weights"
    ),
    Format("tensorflow-saved-model", "TensorFlow, a SavedModel", (".pb",), "tf_saved"),
    Format("tensorflow-meta-graph", "TensorFlow 1, a graph beside its checkpoint", (".meta",), "tf_meta"),
    Format("tensorflow-graph", "TensorFlow, a frozen graph", (".pb",), "tf_frozen"),
    Format("tflite", "TFLite (LiteRT)", (".tflite", ".lite"), "tflite"),
    Format("torchscript", "TorchScript (torch.jit.save)", (".pt", ".ts"), "torchscript"),
    Format("torch-export", "torch.export's ExportedProgram", (".pt2",), "torch_export"),
    Format("mxnet", "MXNet and Gluon: a symbol, and its .params", (".json",), "mxnet", others="arrays"),
    Format("onnx", "ONNX", (".onnx",), "onnx"),  # the last to be asked: protobuf has no magic number
)


def head_of(path: Path) -> bytes:
    """The first bytes of a file; none of a folder. Raises BadInput."""
    if path.is_dir():
        return b""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from error


def find(path: Path) -> Format:
    """The format of a model file or folder, by its bytes. Raises UnknownFormat; of weights alone it says so."""
    head = head_of(path)
    from zoo.converters import tensors

    for format_ in MODELS[:-1]:
        if format_.sniff(path, head):
            return format_
    if path.is_dir():
        raise UnknownFormat(path, hint="It is a folder, and of no format that has a model in one.")
    try:
        name = tensors.container_of(path).NAME
    except UnknownFormat:
        if MODELS[-1].sniff(path, head):
            return MODELS[-1]
        raise
    raise UnknownFormat(
        path,
        hint=f"It holds weights alone ({name}): say whose graph they are for by architecture=, as in 'timm/resnet50'.",
    )


def read(paths: Sequence[Path]) -> ir.Model:
    """The graph with its weights from the files of one model, the architecture first. Raises FileError, BadInput."""
    if not paths:
        raise BadInput("no model file is given")
    return find(paths[0]).read(*paths)


@dataclass(frozen=True, slots=True)
class Target:
    """A format that `zoo convert` writes: a file that ends with one of `extensions`, or a folder of some of `files`.

    `dtypes` are those of a format that has its own; the others have those of dtypes.DTYPES.
    """

    name: str
    title: str
    extensions: tuple[str, ...] = ()
    files: tuple[str, ...] = ()  # the first is always there
    dtypes: tuple[str, ...] = ()


MXNET_DTYPES = ("float32", "float16", "float64")
TARGETS: Mapping[str, Target] = {
    target.name: target
    for target in (
        Target("onnx", "ONNX", (".onnx",)),
        Target("safetensors", "the weights by their author's names", (".safetensors",)),
        Target("torch", "torch: .pth a state_dict, .pt2 an ExportedProgram", (".pth", ".pt", ".bin", ".pt2")),
        Target(
            "torch-source",
            "a folder of plain PyTorch: model.py, and its weights",
            files=("model.py", "model.safetensors", "constants.safetensors"),
        ),
        Target("keras", "Keras 3: a model that opens with `import zoo`, on each of its backends", (".keras",)),
        Target("h5", "Keras 3: the same as HDF5", (".h5", ".hdf5")),
        Target(
            "keras-source",
            "a folder of plain Keras: model.py, and its weights",
            files=("model.py", "model.safetensors", "constants.safetensors"),
        ),
        Target(
            "jax-source",
            "a folder of plain JAX: model.py, and its weights",
            files=("model.py", "model.safetensors", "constants.safetensors"),
        ),
        Target(
            "saved-model",
            "a folder that TensorFlow, its Serving and tensorflowjs_converter open",
            files=("README.md", "saved_model.pb", "fingerprint.pb", "variables", "assets"),
        ),
        Target("stablehlo", "StableHLO: a program with its weights, as jax.export writes it", (".stablehlo",)),
        Target("tflite", "TFLite (LiteRT)", (".tflite",), dtypes=("float32", "float16", "int8-dynamic", "int8")),
        Target(
            "mxnet",
            "MXNet and Gluon: NAME-symbol.json, and NAME-0000.params beside it",
            (".json",),
            dtypes=MXNET_DTYPES,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class FormatRow:
    """A line of `zoo formats`."""

    name: str
    title: str
    holds: str  # model or weights
    reads: bool
    writes: bool
    extensions: tuple[str, ...]


def rows() -> Iterator[FormatRow]:
    """Every format that is read or written."""
    from zoo.converters import tensors

    for format_ in MODELS:
        yield FormatRow(format_.name, format_.title, "model", True, format_.name in TARGETS, format_.extensions)
    for container in tensors.CONTAINERS:
        writes = container.NAME in TARGETS
        yield FormatRow(container.NAME, container.NAME, "weights", True, writes, tuple(container.EXTENSIONS))
    shown = {format_.name for format_ in MODELS} | {container.NAME for container in tensors.CONTAINERS}
    for target in TARGETS.values():
        if target.name not in shown:
            holds = "model" if target.files else "model or weights"
            yield FormatRow(target.name, target.title, holds, False, True, target.extensions or target.files)
