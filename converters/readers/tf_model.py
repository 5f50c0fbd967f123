"""TensorFlow's models -> the graph with its weights: frozen graphs, graphs beside a checkpoint, SavedModels 1 and 2.

Nothing of TensorFlow is imported. Inputs and outputs are those of the signature; where a file has none, the inputs are
its placeholders and the outputs what is computed of them and read by no other node.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from zoo.converters.readers import tf_control, tf_operators
from zoo.converters.readers.tf_ends import ends
from zoo.converters.readers.tf_graph import Graph, Signature, functions_of, nodes_of, ref
from zoo.converters.readers.tf_nodes import Fault
from zoo.converters.readers.tf_walk import Reader
from zoo.converters.tensors import Tensor, tf_bundle
from zoo.converters.tensors.mapped import map_file
from zoo.converters.tensors.tf_wire import Message, parse
from zoo.errors import Malformed, Refused

TABLE = tf_operators.TABLE | tf_control.TABLE
NONSENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
SERVE, DEFAULT = "serve", "serving_default"
INIT = "__saved_model_init_op"  # a signature that loads tables and gives nothing


def frozen(path: Path) -> ir.Model:
    """A GraphDef whose variables are constants."""
    return _read(path, parse(path, map_file(path).array.data, "Graph"), {}, None, "tensorflow-graph")


def meta_graph(path: Path) -> ir.Model:
    """A MetaGraphDef with the checkpoint of the same name beside it."""
    message = parse(path, map_file(path).array.data, "MetaGraph")
    checkpoint = tf_bundle.companion(path)
    variables = tf_bundle.read(checkpoint) if checkpoint is not None else {}
    return _read(path, message["graph"], variables, _signature(path, message), "tensorflow-checkpoint")


def saved_model(folder: Path, file: Path) -> ir.Model:
    """A SavedModel's graph for serving, with the variables in its folder."""
    message = parse(file, map_file(file).array.data, "SavedModel")
    graphs: list[Message] = message["meta_graphs"]
    if not graphs:
        raise Malformed(file, "TensorFlow: a SavedModel without a graph")
    chosen = next((g for g in graphs if SERVE in g["info"]["tags"]), graphs[0])
    index = folder / "variables" / "variables.index"
    variables = tf_bundle.read(index) if index.is_file() else {}
    return _read(file, chosen["graph"], variables, _signature(file, chosen), "saved-model")


def _signature(path: Path, message: Message) -> Signature | None:
    """The default signature, or the first that has inputs and outputs."""
    found = {entry["key"]: entry["value"] for entry in message["signatures"] if entry["key"] != INIT}
    order = [DEFAULT, *found]
    for key in order:
        if key in found and found[key]["outputs"]:
            sides = []
            for side in ("inputs", "outputs"):
                infos = {entry["key"]: entry["value"]["name"] for entry in found[key][side]}
                if not all(infos.values()):
                    raise Refused(path, f"TensorFlow: signature {key!r} has tensors that are sparse or in parts")
                sides.append({name: ref(text) for name, text in infos.items()})
            return Signature(sides[0], sides[1])
    return None


def _read(
    path: Path, graph: Message, variables: Mapping[str, Tensor], signature: Signature | None, format_: str
) -> ir.Model:
    """The model. Raises Malformed, and Refused for operators that aren't in the table."""
    try:
        nodes, functions = nodes_of(graph["node"]), functions_of(graph["library"])
        if not nodes:
            raise Fault("a graph without nodes", is_refusal=False)
        made = Graph(path, nodes, functions, variables)
        return Reader(made, TABLE).model(signature or ends(made, TABLE), format_)
    except Fault as fault:
        error = Refused if fault.is_refusal else Malformed
        raise error(path, f"TensorFlow: {fault}") from fault
    except NONSENSE as error:
        raise Malformed(path, f"TensorFlow: the graph makes no sense: {str(error)[:200]}") from error
