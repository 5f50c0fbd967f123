"""A canonical graph as Keras layers: the author's modules are classes, what they hold are their attributes."""

from __future__ import annotations

import keras
import onnx_ir as ir

from zoo.converters.graph import CHANNELS_LAST
from zoo.converters.layout import Layouts, channels_last, layouts
from zoo.converters.writers.keras.source.operators import lowers
from zoo.converters.writers.keras.source.tracer import KerasTracer
from zoo.converters.writers.source import scopes
from zoo.converters.writers.source.masks import simplify_masks
from zoo.converters.writers.source.nest import Scope
from zoo.converters.writers.source.padding import merge_pads
from zoo.converters.writers.source.scopes import numbered_chain
from zoo.converters.writers.source.steps import Alignment, Step, fold_loops
from zoo.converters.writers.source.terms import REQUIRED, Call, Callee, Items, Term
from zoo.converters.writers.source.tree import Instance
from zoo.errors import HubError

WEIGHT = Callee("self.add_weight", {"shape": REQUIRED, "trainable": True}, 0)
IDENTITY = Callee("layers.Identity")
OF_TORCH = {"type", "half", "double", "float", "to", "apply", "children", "modules", "parameters", "buffers", "forward"}
RESERVED = frozenset(dir(keras.Model)) | OF_TORCH | {"state_dict", "train", "eval", "mask", "training"}
FIELDS = {"layers.Embedding": "embeddings", "layers.Dense": "kernel"}  # layers whose weight others may read


class KerasTree(scopes.GraphTree):
    """The instances of a canonical graph, each a layer of its class."""

    sequential = "keras.Sequential"
    reserved = RESERVED
    activations = frozenset({"layers.ReLU", "layers.Activation", "layers.LeakyReLU", "layers.Softmax"})
    opens_sequential = False
    tracer: KerasTracer

    def __init__(self, model: ir.Model) -> None:
        model = model.clone()
        merge_pads(model)
        simplify_masks(model)
        channels_last(model, lambda node: (CHANNELS_LAST, node.op_type) in lowers)
        self.model = model
        super().__init__(model, KerasTracer(model, lowers))

    @property
    def layouts(self) -> Layouts:
        """Which inputs and outputs have their channels last, unlike the graph's."""
        return layouts(self.model)

    def has_own_class(self, scope: Scope, nodes: int) -> bool:
        """Whether a module without children computes several things, or holds weights of its own."""
        reads = (s for s in self.tracer.steps if s.op == "get_attr" and not s.kwargs)
        return nodes > 1 or any(str(s.target).rpartition(".")[0] == scope.path for s in reads)

    def describe(self, instance: Instance) -> None:
        """What the forward calls and reads, in the author's order."""
        scope, steps = instance.module, instance.steps or []
        constants = self.name_constants(instance)
        used = {str(s.target).partition(".")[0] for s in steps if s.op == "call_module"}
        instance.base = "keras.Model" if not instance.path else "layers.Layer"
        if "" in used:
            instance.base = self._itself(scope)
        for step in steps:
            if step.op == "get_attr" and not step.kwargs:
                self._weight(instance, step)
        for name, child in scope.children.items():
            if name in used:
                instance.fields[attribute(name)] = self.term_of(child)
        if instance.path and numbered_chain(scope):
            instance.base = self.sequential
            instance.fields |= {n: self.term_of(c) for n, c in scope.children.items()}
            instance.fields = {n: instance.fields[n] for n in scope.children}
        instance.fields |= constants
        fold_loops(steps, lambda path, count: self._holds(scope, path, count))

    def _itself(self, scope: Scope) -> Call:
        """The layer that a module is, besides what it holds."""
        made = self.tracer.layers[scope.path]
        if made.callee.name != "layers.BatchNormalization":
            raise HubError(f"{scope.path} is a {made.callee.name} that does more, which has no form in Keras")
        return made

    def _weight(self, instance: Instance, step: Step) -> None:
        scope, target = instance.module, str(step.target)
        owner, _, field = target.rpartition(".")
        whole = f"{scope.path}.{target}".strip(".")
        if (f"{scope.path}.{owner}".strip(".")) in self.tracer.layers:
            return  # a layer's, which stands where it is
        if owner:
            field = target.replace(".", "_")
            self.tracer.renamed[whole] = f"{scope.path}.{field}".strip(".")
            step.target = field
        field = attribute(field)
        value = self.tracer.model.graph.initializers[whole]
        shape = tuple(int(d) for d in value.shape or ())  # type: ignore[arg-type]  # a weight's sizes are known
        instance.fields[field] = Call(
            WEIGHT, (("shape", shape), ("trainable", value.metadata_props.get("zoo.parameter") == "parameter"))
        )

    def _holds(self, scope: Scope, path: str, count: int) -> bool:
        held = scope.at(path)
        return (
            held is not None and bool(path) and held.is_open and list(held.children) == [str(i) for i in range(count)]
        )

    def term_of(self, scope: Scope) -> Term:
        """What makes a child."""
        if id(scope) in self.made:
            return self.made[id(scope)]
        if scope.is_layer:
            return self.tracer.layers[scope.path]
        terms = tuple(self.term_of(c) for c in scope.children.values())
        if scope.is_chain or (scope.steps is None and scope.children):  # what it holds is called from around it
            is_dict = not scope.is_chain and any(not name.isdigit() for name in scope.children)
            return Items(
                "Sequential" if scope.is_chain else "dict" if is_dict else "list", tuple(scope.children), terms
            )
        return Call(IDENTITY)

    def is_empty(self, instance: Instance, path: str) -> bool:
        """Whether there is no such child, or it computes nothing."""
        scope = instance.module.at(path)
        return scope is None or self.term_of(scope) == Call(IDENTITY)

    def are_alike(self, a: Instance, b: Instance, aligned: Alignment) -> bool:
        """Whether both call the same kinds of weighty layers: a convolution is no argument."""
        for mine, theirs in aligned.matched.items():
            if mine.op != "call_module" or not mine.target:
                continue
            scopes_ = a.module.at(mine.target), b.module.at(theirs.target)
            terms = [self.term_of(s) if s is not None else None for s in scopes_]
            names = {t.callee.name for t in terms if isinstance(t, Call) and t.callee is not IDENTITY}
            if len(names) == 2 and any("Conv" in name or "Dense" in name for name in names):
                return False
        return True


def attribute(name: str) -> str:
    """A name that Keras' layers don't have themselves: `output` as `output_`."""
    return f"{name}_" if name in RESERVED else name
