"""Padding that stands in front of a convolution becomes the convolution's own, as a person would write it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir


def merge_pads(model: ir.Model) -> None:
    """Pad(x, zeros around the picture) -> Conv(pads) = Conv with both pads, in place.

    An identity: a convolution's own padding is zeros too. Only where nothing else reads what was padded.
    """
    for node in list(model.graph):
        if node.op_type != "Conv" or node.domain or node.inputs[0] is None:
            continue
        pad = node.inputs[0].producer()
        pads = None if pad is None or len(node.inputs[0].uses()) != 1 else _spatial(pad)
        auto = node.attributes.get("auto_pad")
        if pad is None or pads is None or auto is not None and auto.as_string() not in ("NOTSET", "VALID", ""):
            continue
        own = node.attributes.get("pads")
        mine = list(own.as_ints()) if own is not None else [0] * len(pads)
        node.attributes["pads"] = ir.AttrInt64s("pads", [a + b for a, b in zip(mine, pads, strict=True)])
        node.attributes["auto_pad"] = ir.AttrString("auto_pad", "NOTSET")
        node.replace_input_with(0, pad.inputs[0])
        model.graph.remove(pad, safe=True)


def _spatial(pad: ir.Node) -> list[int] | None:
    """The begins and ends of a Pad with zeros of the axes behind the second; None for any other node."""
    mode = pad.attributes.get("mode")
    if pad.op_type != "Pad" or pad.domain or (mode is not None and mode.as_string() != "constant"):
        return None
    if len(pad.inputs) > 3 and pad.inputs[3] is not None:
        return None
    value = pad.inputs[2] if len(pad.inputs) > 2 else None
    if value is not None and (value.const_value is None or np.any(value.const_value.numpy() != 0)):
        return None
    given = pad.inputs[1]
    if given is None or given.const_value is None:
        return None
    pads = [int(n) for n in given.const_value.numpy()]
    n = len(pads) // 2
    if n < 3 or min(pads) < 0 or any(pads[i] or pads[n + i] for i in (0, 1)):
        return None
    return [*pads[2:n], *pads[n + 2 :]]
