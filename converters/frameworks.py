"""One table: what each framework's name stands for. Nothing of a framework is imported before it is used."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from zoo.errors import MissingFramework, UnknownFramework

# distributions that are the same package, built otherwise
BUILDS: Mapping[str, Sequence[str]] = {
    "onnxruntime": ("onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino", "onnxruntime-qnn"),
    "tensorflow": ("tensorflow-cpu", "tensorflow-intel", "tensorflow-macos", "tf-nightly"),
}


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework: its folder under converters/writers, what must be importable, and how it is installed.

    Its folder has `writer.py` (write, tensors, lowers) and `runner.py` (runner, from_numpy).
    """

    name: str
    folder: str
    package: str  # what is imported
    distribution: str  # what pip calls it
    extra: str
    layout: str  # where its habit has the channels of an image
    gives: str  # what `zoo.load` returns
    asks: tuple[str, ...] = ()  # what `write` is told besides the graph: channels, dtype
    runs: str = "write"  # what of `writer.py` makes that which its Runner runs

    @property
    def is_installed(self) -> bool:
        """Whether the package can be found; it is not imported."""
        return importlib.util.find_spec(self.package) is not None

    @property
    def version(self) -> str:
        """The installed version. Raises MissingFramework."""
        from importlib.metadata import PackageNotFoundError, version

        for distribution in (self.distribution, *BUILDS.get(self.distribution, ())):
            with suppress(PackageNotFoundError):
                return version(distribution)
        raise MissingFramework(self.name, self.extra)

    def module(self, file: str) -> ModuleType:
        """A file of the framework's folder. Raises MissingFramework, with the reason if it is installed and broken."""
        if not self.is_installed:
            raise MissingFramework(self.name, self.extra)
        folder = f"zoo.converters.writers.{self.folder}"
        importlib.import_module(folder)  # what has to be set before the framework is imported is set there
        try:
            importlib.import_module(self.package)
        except ImportError as error:
            raise MissingFramework(self.name, self.extra, why=f"its import fails: {error}") from error
        return importlib.import_module(f"{folder}.{file}")


_ALL = (
    Framework("onnx", "onnx", "onnxruntime", "onnxruntime", "", "first", "onnx.ModelProto"),
    Framework("torch", "torch", "torch", "torch", "torch", "first", "torch.nn.Module"),
    Framework("jax", "jax", "jax", "jax", "jax", "first", "(apply, params)", ("channels",)),
    Framework("flax", "jax.flax", "flax", "flax", "flax", "first", "flax.nnx.Module", ("channels",)),
    Framework("keras", "keras", "keras", "keras", "keras", "last", "keras.Model", ("channels", "dtype")),
    Framework(
        "tensorflow", "tensorflow", "tensorflow", "tensorflow", "tensorflow", "last", "tf.Module", ("channels", "dtype")
    ),
    Framework("sonnet", "sonnet", "sonnet", "dm-sonnet", "sonnet", "last", "snt.Module", ("channels", "dtype")),
    Framework(
        "mxnet",
        "mxnet",
        "mxnet",
        "mxnet",
        "mxnet",
        "first",
        "(symbol, arg_params, aux_params)",
        ("dtype",),
        runs="program",
    ),
    Framework("gluon", "mxnet.gluon", "mxnet", "mxnet", "mxnet", "first", "gluon.HybridBlock", ("dtype",)),
)
FRAMEWORKS: Mapping[str, Framework] = {framework.name: framework for framework in _ALL}


def framework(name: Any) -> Framework:
    """The framework of a name. Raises UnknownFramework with the names that there are."""
    if name not in FRAMEWORKS:
        raise UnknownFramework(str(name), FRAMEWORKS)
    return FRAMEWORKS[name]
