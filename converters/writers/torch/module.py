"""The native module: torch.fx GraphModules nested as the author's modules are, each with a forward of its own.

A flat forward of a ResNet-50 has 175 lines and leaves `model.layer4` without one, so that no forward hook fires there
and `nn.Sequential(*model.children())` computes nothing. `nested` cuts the flat graph along the author's tree.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from operator import getitem
from typing import Any

from torch import fx, nn

from zoo.errors import HubError


class Native(fx.GraphModule):
    """A GraphModule that keeps the author's children in his order through deepcopy and pickle.

    torch's own copies only what the graph refers to, and remakes containers as bare modules.
    """

    @property
    def code(self) -> str:
        """The forward as a person would write it; as torch.fx writes it where that can't be done.

        What runs is torch.fx's, which lets go of each value after its last use (`x = None`), as a person's
        `x = self.relu(x)` does: without that a ResNet-50 takes three times the memory at inference (1,002 MB of
        activations for 32 images against 334).
        """
        from zoo.converters.writers.torch.source.shown import shown

        try:
            return shown(self)
        except HubError:
            machines: str = self._code
            return machines

    def __str__(self) -> str:
        return repr(self)

    def recompile(self) -> Any:
        """As torch.fx's, and called as any module is: fx's own call prints a traceback when a forward raises."""
        code = super().recompile()
        if "__call__" in vars(type(self)):  # the class of this one instance
            del type(self).__call__
        return code

    def __deepcopy__(self, memo: dict[int, Any]) -> Native:
        return _rebuild(self._get_name(), copy.deepcopy(_state(self), memo), copy.deepcopy(self.graph), self.training)

    def __copy__(self) -> Native:
        return _rebuild(self._get_name(), _state(self), copy.copy(self.graph), self.training)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self._get_name(), _state(self), _listed(self.graph), self.training)


STATE = ("_modules", "_parameters", "_buffers", "_non_persistent_buffers_set")
HOOKS = (
    *("_forward_hooks", "_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks"),
    *("_forward_pre_hooks_with_kwargs", "_backward_hooks", "_backward_pre_hooks"),
)


def _state(module: nn.Module) -> dict[str, Any]:
    return {name: module.__dict__[name] for name in (*STATE, *HOOKS) if name in module.__dict__}


def _rebuild(name: str, state: dict[str, Any], graph: fx.Graph | list[Any], training: bool) -> Native:
    holder = nn.Module()
    holder.__dict__.update({k: state[k] for k in STATE})
    native = assemble(holder, graph if isinstance(graph, fx.Graph) else _unlisted(graph), name)
    native.__dict__.update({k: state[k] for k in HOOKS if k in state})
    native.training = training
    return native


def _listed(graph: fx.Graph) -> list[Any]:
    """The graph's nodes as plain tuples, which pickle whatever torch's own classes look like in its next version."""
    index = {node: i for i, node in enumerate(graph.nodes)}
    return [
        (n.op, n.target, *fx.node.map_arg((n.args, n.kwargs), lambda x: _Ref(index[x])), n.name) for n in graph.nodes
    ]


class _Ref(tuple[int]):
    """The place of another node, in the list that a graph is pickled as."""

    def __new__(cls, index: int) -> _Ref:
        return super().__new__(cls, (index,))

    def __getnewargs__(self) -> tuple[int]:
        return (self[0],)


def _unlisted(rows: Sequence[Any]) -> fx.Graph:
    graph, nodes = fx.Graph(), list[fx.Node]()
    for op, target, args, kwargs, name in rows:
        nodes.append(graph.create_node(op, target, _resolved(args, nodes), _resolved(kwargs, nodes), name))
    return graph


def _resolved(x: Any, nodes: Sequence[fx.Node]) -> Any:
    if isinstance(x, _Ref):
        return nodes[x[0]]
    if isinstance(x, (list, tuple)):
        return type(x)(_resolved(i, nodes) for i in x)
    if isinstance(x, dict):
        return {k: _resolved(v, nodes) for k, v in x.items()}
    if isinstance(x, slice):
        return slice(*(_resolved(i, nodes) for i in (x.start, x.stop, x.step)))
    return x


def assemble(holder: nn.Module, graph: fx.Graph, name: str) -> Native:
    """A Native that has exactly what `holder` has, in that order, and computes `graph`."""
    native = Native(holder, graph, class_name=name)
    for part in STATE:
        native.__dict__[part] = holder.__dict__[part]
    return native


def nested(root: nn.Module, graph: fx.Graph, name: str) -> nn.Module:
    """The module of a flat graph over a tree: a run of nodes of one child becomes that child's own forward.

    A child whose nodes are not one run (it is called twice, or others stand in between) stays a scope: its layers are
    called from where its parent stands. A container that calls its children in turn stays torch's nn.Sequential.
    """
    assign_owners(root, graph)
    read_where_used(root, graph)
    return _nest(root, graph, "", name)


def assign_owners(root: nn.Module, graph: fx.Graph) -> None:
    """Let meta["path"] be the module in whose forward a node stands: the nearest around it that is no layer itself."""
    for node in graph.nodes:
        path = str(node.target).rpartition(".")[0] if node.op == "call_module" else node.meta.get("path", "")
        while path and (_is_layer(module := root.get_submodule(path)) or isinstance(module, LISTS)):
            path = path.rpartition(".")[0]
        node.meta["path"] = path


def read_where_used(root: nn.Module, graph: fx.Graph) -> None:
    """Read parameters and constants right before their first use, where a person would write it.

    A constant belongs to each module that uses it. A parameter is read by the module that holds both it and its user,
    and handed down from there.
    """
    for node in [n for n in graph.nodes if n.op == "get_attr"]:
        owner = str(node.target).rpartition(".")[0]
        by_reader: dict[str, list[fx.Node]] = {}
        for user in node.users:
            path = user.meta["path"]
            by_reader.setdefault(path if "constant" in node.meta else _common(owner, path), []).append(user)
        for path, users in by_reader.items():
            target = node.target
            if "constant" in node.meta:
                target = _hold(root, path, str(target), node.meta["constant"])
            first = next(n for n in graph.nodes if n in users)
            with graph.inserting_before(first):
                copied = graph.get_attr(target)
            copied.meta["path"] = path
            for user in users:
                user.replace_input_with(node, copied)
        graph.erase_node(node)


def _hold(root: nn.Module, path: str, name: str, tensor: Any) -> str:
    """Register a constant on the module that uses it, as a buffer that moves with it and is not saved; its path."""
    module = root.get_submodule(path)
    if name not in module._buffers:
        module.register_buffer(name, tensor, persistent=False)
    return f"{path}.{name}" if path else name


def _common(a: str, b: str) -> str:
    """The deepest module that holds both paths."""
    parts = []
    for x, y in zip(a.split("."), b.split("."), strict=False):
        if x != y:
            break
        parts.append(x)
    return ".".join(parts)


LISTS = (nn.ModuleList, nn.ModuleDict)  # they hold modules and have no forward: their parent calls what they hold


def _children(module: nn.Module, prefix: str) -> Iterator[tuple[nn.Module, str, str]]:
    """(holder, name, path) of every child that this module calls."""
    for name, child in list(module.named_children()):
        if isinstance(child, LISTS):
            yield from _children(child, f"{prefix}{name}.")
        elif not _is_layer(child):
            yield module, name, f"{prefix}{name}"


def _is_layer(module: nn.Module) -> bool:
    """Whether the module computes by itself (torch's layers do, scopes and containers do not yet)."""
    return type(module).forward is not nn.Module.forward and not isinstance(module, nn.Sequential)


def _nest(module: nn.Module, graph: fx.Graph, prefix: str, name: str) -> nn.Module:
    for holder, child_name, path in _children(module, prefix):
        run = [
            n
            for n in graph.nodes
            if f"{n.meta['path']}.".startswith(f"{path}.") and n.op not in ("placeholder", "output")
        ]
        if not _is_one_call(graph, run):
            continue
        child = holder._modules[child_name]
        inner, args, outputs = _cut(graph, run)
        holder._modules[child_name] = _nest(
            child, inner, f"{path}.", getattr(child, "class_name", type(child).__name__)
        )
        _call(graph, run, path, args, outputs, owner=prefix.removesuffix("."))
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            node.target = str(node.target).removeprefix(prefix)
    if _is_chain(module, graph):
        return module
    graph.lint()
    return assemble(module, graph, name)


def _is_one_call(graph: fx.Graph, run: Sequence[fx.Node]) -> bool:
    """Whether the nodes can be one call: there are some, and none needs what another module makes of an earlier one."""
    inside, started = set(run), False
    tainted: set[fx.Node] = set()
    for node in graph.nodes:
        depends = any(a in tainted for a in node.all_input_nodes)
        if node in inside:
            started = True
            if depends:
                return False
        elif started and (depends or any(a in inside for a in node.all_input_nodes)):
            tainted.add(node)
    return any(n.op != "get_attr" for n in run)


def _cut(graph: fx.Graph, run: Sequence[fx.Node]) -> tuple[fx.Graph, list[fx.Node], list[fx.Node]]:
    """The nodes as a graph of their own; what it reads from outside, and what outside reads of it."""
    inside = set(run)
    args = list(dict.fromkeys(a for n in run for a in n.all_input_nodes if a not in inside))
    outputs = [n for n in run if any(u not in inside for u in n.users)]
    inner, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    for i, arg in enumerate(args):
        copies[arg] = inner.placeholder("x" if len(args) == 1 else f"x{i + 1}")
        copies[arg].meta["path"] = ""
    for node in run:
        copies[node] = inner.node_copy(node, lambda n: copies[n])
    results = [copies[o] for o in outputs]
    inner.output(results[0] if len(results) == 1 else tuple(results)).meta["path"] = ""
    return inner, args, outputs


def _call(
    graph: fx.Graph, run: Sequence[fx.Node], path: str, args: Sequence[fx.Node], outputs: Sequence[fx.Node], owner: str
) -> None:
    """Put one call of the child in the place of its nodes: before the first that reads a result."""
    inside = set(run)
    readers = {u for o in outputs for u in o.users if u not in inside}
    with graph.inserting_before(next(n for n in graph.nodes if n in readers)):
        call = graph.call_module(path, tuple(args))
        several = [graph.call_function(getitem, (call, i)) for i in range(len(outputs))] if len(outputs) > 1 else []
    for node in (call, *several):
        node.meta["path"] = owner
    for old, new in zip(outputs, several or [call], strict=True):
        old.replace_all_uses_with(new, delete_user_cb=lambda user: user not in inside)
    for node in reversed(run):
        graph.erase_node(node)


def _is_chain(module: nn.Module, graph: fx.Graph) -> bool:
    """Whether the forward is what nn.Sequential's own does: its children, one after the other."""
    if not isinstance(module, nn.Sequential):
        return False
    first, *calls, last = graph.nodes
    chained = all(
        c.op == "call_module" and c.args == (before,) for c, before in zip(calls, [first, *calls], strict=False)
    )
    ends = first.op == "placeholder" and last.args == ([first, *calls][-1],)
    called = [str(c.target) for c in calls]
    expected = [n for n, child in module._modules.items() if n in called or not isinstance(child, nn.Identity)]
    return ends and chained and called == expected
