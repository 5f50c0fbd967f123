"""Operators in channels-last form (graph.CHANNELS_LAST): the lowerings of ONNX's own, told where the channels stand.

XLA's kernels for a CPU have their channels last; in any other layout it transposes before and behind each convolution
(jaxlib 0.7.1: a ResNet's 1 x 1 convolutions take up to 1.7 times as long).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import onnx_ir as ir

from zoo.converters.graph import CHANNELS_LAST
from zoo.converters.layout import Choice, channels_last
from zoo.converters.writers.jax import convolution, image, lowers, normalization, pooling

FORMS: dict[str, Callable[..., Any]] = {
    "AveragePool": pooling.average_pool,
    "BatchNormalization": normalization.batch_normalization,
    "Conv": convolution.conv,
    "ConvTranspose": convolution.conv_transpose,
    "DepthToSpace": image.depth_to_space,
    "GlobalAveragePool": pooling.global_average_pool,
    "GlobalLpPool": pooling.global_lp_pool,
    "GlobalMaxPool": pooling.global_max_pool,
    "GroupNormalization": normalization.group_normalization,
    "InstanceNormalization": normalization.instance_normalization,
    "LRN": normalization.lrn,
    "LpPool": pooling.lp_pool,
    "MaxPool": pooling.max_pool,
    "SpaceToDepth": image.space_to_depth,
}
for _op, _lowering in FORMS.items():
    lowers(_op, CHANNELS_LAST)(partial(_lowering, _last=True))


def laid_out(model: ir.Model, channels: Choice) -> ir.Model:
    """A copy of a canonical model that computes with channels last; its inputs and outputs have them there or first."""
    made = model.clone()
    channels_last(made, _takes, inputs=channels, outputs=channels)
    return made


def _takes(node: ir.Node) -> bool:
    """Whether there is a lowering of the node's channels-last form."""
    return node.op_type in FORMS
