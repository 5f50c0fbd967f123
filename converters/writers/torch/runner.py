"""A torch module as a Runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from zoo.converters.runner import Array, TensorSpec
from zoo.converters.writers.onnx.runner import check
from zoo.converters.writers.torch.tree import CARRIED, to_tensor
from zoo.errors import UsageError


class TorchRunner:
    """Feeds a module positionally in the order of the graph's inputs, without gradients."""

    def __init__(
        self, module: torch.nn.Module, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], device: torch.device
    ) -> None:
        self.module, self.inputs, self.outputs, self.device = module, inputs, outputs, device

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One pass. Raises BadInput naming the input when a name, dtype or shape doesn't fit."""
        check(self.inputs, feeds)
        with torch.inference_mode():
            made = self.module(*(from_numpy(feeds[spec.name]).to(self.device) for spec in self.inputs))
        named = made if isinstance(made, dict) else {self.outputs[0].name: made}
        return {name: to_numpy(value) for name, value in named.items()}


def runner(
    module: torch.nn.Module, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, device: str = "auto"
) -> TorchRunner:
    """A Runner of a module on a device; only `auto` chooses, and it takes the first GPU."""
    where = torch_device(device)
    return TorchRunner(module.to(where).eval(), inputs, outputs, where)


def torch_device(name: str) -> torch.device:
    """Torch's device of a name: auto, cpu, cuda, cuda:1, mps. Raises UsageError with the reason."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"unknown device {name!r}", hint="Known: auto, cpu, cuda, cuda:1, mps.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        why = "was built without CUDA" if torch.version.cuda is None else "finds no usable GPU or driver"
        raise UsageError(f"device {name!r} is not available: this torch {torch.__version__} {why}")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError(f"device {name!r} is not available: this torch {torch.__version__} has no MPS")
    return device


def from_numpy(array: Array) -> torch.Tensor:
    """An array as a tensor; the module may write to it without the array changing."""
    array = np.ascontiguousarray(array)
    return to_tensor(array if array.flags.writeable else array.copy())


def to_numpy(value: Any) -> Any:
    """A tensor as an array (bfloat16 and float8 as ml_dtypes has them); sequences as lists, others as they are."""
    if isinstance(value, (list, tuple)):
        return [to_numpy(v) for v in value]
    if not isinstance(value, torch.Tensor):
        return value if value is None else np.asarray(value)
    tensor = value.detach().cpu()
    for numpy_dtype, (carrier, torch_dtype) in CARRIED.items():
        if tensor.dtype == torch_dtype:
            carried = {np.int16: torch.int16, np.uint8: torch.uint8}[carrier]
            return tensor.contiguous().view(carried).numpy().view(numpy_dtype)
    return tensor.numpy()
