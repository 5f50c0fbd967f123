"""A torch module as a Runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from zoo.converters.runner import Array, TensorSpec
from zoo.converters.writers.onnx.runner import check
from zoo.converters.writers.torch.types import to_array, to_tensor
from zoo.errors import HubError, UsageError, ZooError


class TorchRunner:
    """Feeds a module positionally in the order of the graph's inputs, without gradients."""

    def __init__(
        self, module: torch.nn.Module, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], device: torch.device
    ) -> None:
        self.module, self.inputs, self.outputs, self.device = module, inputs, outputs, device

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """One pass. Raises BadInput naming the input that does not fit; HubError when torch fails."""
        check(self.inputs, feeds)
        try:
            with torch.inference_mode():
                made = self.module(*(from_numpy(feeds[spec.name], self.device) for spec in self.inputs))
        except ZooError:
            raise
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise HubError(f"torch failed: {reason[:500]}") from error
        named = made if isinstance(made, dict) else {self.outputs[0].name: made}
        dtypes = {spec.name: spec.dtype for spec in self.outputs}
        return {name: to_numpy(value, dtypes.get(name, "")) for name, value in named.items()}


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


def from_numpy(value: Any, device: torch.device | None = None) -> Any:
    """An array as a tensor, to which the module may write without the array changing; lists and strings as they are."""
    if isinstance(value, (list, tuple)):
        return [from_numpy(item, device) for item in value]
    if value is None or np.asarray(value).dtype.kind in "OSU":
        return value if value is None else np.asarray(value).astype(object)
    array = np.asarray(value, order="C")
    return to_tensor(array if array.flags.writeable else array.copy()).to(device)


def to_numpy(value: Any, dtype: str = "") -> Any:
    """A tensor as an array, of the graph's dtype where torch has none; lists, strings and maps as they are."""
    if isinstance(value, (list, tuple)):
        return [to_numpy(item, dtype) for item in value]
    if isinstance(value, dict):
        return {key: to_numpy(item)[()] for key, item in value.items()}  # as scalars
    if not isinstance(value, torch.Tensor):
        return value if value is None or isinstance(value, (float, int)) else np.asarray(value)
    return to_array(value, dtype.rpartition("(")[2].rstrip(")"))
