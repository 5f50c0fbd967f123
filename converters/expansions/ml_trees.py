"""Tree ensembles of ai.onnx.ml in ONNX's words: all trees at once, one level of all of them after the other.

A tree is arrays over its nodes, and a row of X stands at one node of each tree. A level is a Gather of what the nodes
compare and a Where to the next ones; a leaf's children are itself. The number of levels is the deepest tree's, so there
is no loop over data (the traversal that Hummingbird calls TreeTraversal: Nakandala et al., OSDI 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from zoo.converters.expansions import Builder, dtype, expands
from zoo.converters.expansions.ml_scores import (
    binary_label,
    flat,
    label_at,
    labels_of,
    top_label,
    transformed,
    two_scores,
)
from zoo.errors import HubError

ML = "ai.onnx.ml"
MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
COMPARISONS = dict(zip(MODES, ("LessOrEqual", "Less", "GreaterOrEqual", "Greater", "Equal"), strict=False))
AGGREGATES, TRANSFORMS = ("AVERAGE", "SUM", "MIN", "MAX"), ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass
class Forest:
    """Nodes by number: what each compares, and where it leads; a leaf leads to itself."""

    feature: Ints
    split: np.ndarray[Any, Any]
    mode: list[str]
    true: Ints
    false: Ints
    roots: Ints
    tracks: np.ndarray[Any, Any]  # whether a missing value goes the way of true
    scores: list[tuple[int, int, float]] = field(default_factory=list)  # node, target, weight
    members: dict[int, list[float]] = field(default_factory=dict)  # of each BRANCH_MEMBER node

    def depth(self, name: str) -> int:
        """Levels until every row stands at a leaf. Raises HubError for nodes that lead in a circle."""
        level, levels = set(self.roots.tolist()), 0
        while inner := [n for n in level if self.true[n] != n or self.false[n] != n]:
            level = {int(child) for n in inner for child in (self.true[n], self.false[n])}
            levels += 1
            if levels > len(self.true):
                raise HubError(f"the tree nodes of {name!r} lead in a circle")
        return levels


def _checked(name: str, forest: Forest) -> Forest:
    n = len(forest.true)
    places = (*forest.true, *forest.false, *forest.roots, *(node for node, _, _ in forest.scores))
    if n == 0 or any(not 0 <= place < n for place in places):
        raise HubError(f"the tree nodes of {name!r} lead to nodes that are not there")
    if unknown := set(forest.mode) - {*MODES, "LEAF"}:
        raise HubError(f"{name!r} has tree nodes of mode {sorted(unknown)[0]!r}; there are {', '.join(MODES)} and LEAF")
    return forest


def _numbers(node: ir.Node, name: str) -> np.ndarray[Any, Any]:
    """A list of floats, or the tensor (`<name>_as_tensor`) that newer versions take in its place."""
    if (tensor := node.attributes.get(f"{name}_as_tensor")) is not None:
        return tensor.as_tensor().numpy().reshape(-1)  # type: ignore[no-any-return]
    return np.array(node.attributes.get_floats(name, []), dtype=np.float32)


def _of_ids(node: ir.Node, prefix: str) -> Forest:
    """The forest of a TreeEnsembleRegressor (prefix `target`) or -Classifier (`class`): nodes by tree and id."""
    get = node.attributes.get_ints
    keys = list(zip(get("nodes_treeids", []), get("nodes_nodeids", []), strict=True))
    place = {key: i for i, key in enumerate(keys)}
    modes = [str(mode) for mode in node.attributes.get_strings("nodes_modes", [])]
    own = np.arange(len(keys))

    def children(name: str) -> Ints:
        ids = get(name, [])
        if not len(modes) == len(ids) == len(keys):
            raise HubError(f"{node.op_type} {node.name!r}: {len(keys)} nodes, {len(modes)} modes, {len(ids)} {name}")
        at = [i if modes[i] == "LEAF" else place.get((keys[i][0], child), -1) for i, child in enumerate(ids)]
        return np.array(at, dtype=np.int64)

    true, false = children("nodes_truenodeids"), children("nodes_falsenodeids")
    inner = true != own
    reached = {*true[inner].tolist(), *false[inner].tolist()}
    first: dict[int, int] = {}  # the root of a tree: its first node that no other leads to
    for i, (tree, _) in enumerate(keys):
        if i not in reached:
            first.setdefault(tree, i)
    weights = _numbers(node, f"{prefix}_weights")
    scored = zip(*(get(f"{prefix}_{part}", []) for part in ("treeids", "nodeids", "ids")), weights, strict=True)
    tracks = get("nodes_missing_value_tracks_true", [])
    return _checked(
        node.name or node.op_type,
        Forest(
            feature=np.where(inner, np.array(get("nodes_featureids", []), dtype=np.int64), 0),
            split=_numbers(node, "nodes_values"),
            mode=["LEAF" if not inner[i] else mode for i, mode in enumerate(modes)],
            true=true,
            false=false,
            roots=np.array(list(first.values()), dtype=np.int64),
            tracks=np.array(tracks or [0] * len(keys), dtype=bool),
            scores=[(place.get((tree, n), -1), target, float(weight)) for tree, n, target, weight in scored],
        ),
    )


def _of_leaves(node: ir.Node) -> Forest:
    """The forest of a TreeEnsemble: inner nodes and leaves are counted apart, and here leaves after inner nodes."""
    get = node.attributes.get_ints
    feature = get("nodes_featureids", [])
    inner, leaves = len(feature), len(get("leaf_targetids", []))
    own = np.arange(inner, inner + leaves)

    def children(way: str) -> Ints:
        ids, is_leaf = np.array(get(f"nodes_{way}nodeids", [])), np.array(get(f"nodes_{way}leafs", []))
        if not len(ids) == len(is_leaf) == inner:
            raise HubError(f"TreeEnsemble {node.name!r}: {inner} nodes, and {len(ids)} children on the {way} side")
        if ((ids < 0) | (ids >= np.where(is_leaf != 0, leaves, inner))).any():
            raise HubError(f"the tree nodes of {node.name or 'TreeEnsemble'!r} lead to nodes that are not there")
        made: Ints = np.concatenate([ids + np.where(is_leaf != 0, inner, 0), own]).astype(np.int64)
        return made

    splits = node.attributes["nodes_splits"].as_tensor().numpy()
    numbers = node.attributes["nodes_modes"].as_tensor().numpy().reshape(-1)
    weights = node.attributes["leaf_weights"].as_tensor().numpy().reshape(-1)
    mode = [MODES[n] if n < len(MODES) else f"number {n}" for n in numbers]
    sets: list[list[float]] = [[]]
    values = node.attributes.get("membership_values")
    for value in [] if values is None else values.as_tensor().numpy().reshape(-1):
        if np.isnan(value):
            sets.append([])
        else:
            sets[-1].append(float(value))
    of_members = [i for i, m in enumerate(mode) if m == "BRANCH_MEMBER"]
    if len(of_members) > len(sets) or len(mode) != inner:
        raise HubError(f"TreeEnsemble {node.name!r}: {len(of_members)} nodes of BRANCH_MEMBER, {len(sets)} sets")
    tracks = get("nodes_missing_value_tracks_true", []) or [0] * inner
    return _checked(
        node.name or node.op_type,
        Forest(
            feature=np.concatenate([feature, np.zeros(leaves)]).astype(np.int64),
            split=np.concatenate([splits.reshape(-1), np.zeros(leaves, splits.dtype)]),
            mode=[*mode, *["LEAF"] * leaves],
            true=children("true"),
            false=children("false"),
            roots=np.array(get("tree_roots", []), dtype=np.int64),
            tracks=np.array([*tracks, *[0] * leaves], dtype=bool),
            scores=[
                (inner + i, target, float(weight))
                for i, (target, weight) in enumerate(zip(get("leaf_targetids", []), weights, strict=True))
            ],
            members=dict(zip(of_members, sets, strict=False)),
        ),
    )


def _leaves(op: Builder, forest: Forest, x: ir.Value, name: str) -> ir.Value:
    """The node [N, trees] that each row of x [N, F] ends at, in each tree."""
    at: ir.Value | None = None  # where each row stands; at first that is the same for all

    def of(table: np.ndarray[Any, Any]) -> ir.Value:
        made: ir.Value = (
            op.const(table[None, forest.roots], table.dtype)
            if at is None
            else op.Gather(op.const(table, table.dtype), at)
        )
        return made

    for _ in range(max(forest.depth(name), 1)):
        if at is None:
            value = op.Gather(x, op.const(forest.feature[forest.roots]), axis=1)
        else:
            value = op.GatherElements(x, of(forest.feature), axis=1)
        goes = _goes(op, forest, value, of)
        at = op.Where(goes, of(forest.true), of(forest.false))
    assert at is not None  # there is at least one level
    return at


def _goes(op: Builder, forest: Forest, value: ir.Value, of: Any) -> ir.Value:
    """Whether each value [N, trees] goes the way of true at the node where its row stands."""
    modes = [mode for mode in MODES if mode in forest.mode] or ["BRANCH_LEQ"]
    numbers = np.array([modes.index(mode) if mode in modes else 0 for mode in forest.mode], dtype=np.int64)
    split = op.CastLike(of(forest.split), value)
    goes = None
    for number, mode in enumerate(modes):
        if mode == "BRANCH_MEMBER":
            holds = _is_member(op, forest, value, of)
        elif mode == "BRANCH_NEQ":
            holds = op.Not(op.Equal(value, split))
        else:
            holds = getattr(op, COMPARISONS[mode])(value, split)
        goes = holds if goes is None else op.Where(op.Equal(of(numbers), op.const(number)), holds, goes)
    if forest.tracks.any():
        goes = op.Or(goes, op.And(op.IsNaN(value), of(forest.tracks)))
    return goes  # type: ignore[return-value]


def _is_member(op: Builder, forest: Forest, value: ir.Value, of: Any) -> ir.Value:
    longest = max(map(len, forest.members.values()), default=0)
    table = np.full((len(forest.true), max(longest, 1)), np.nan, dtype=forest.split.dtype)
    for place, members in forest.members.items():
        table[place, : len(members)] = members
    same = op.Equal(op.Unsqueeze(value, op.const([2])), op.CastLike(of(table), value))
    return op.Cast(op.ReduceMax(op.Cast(same, to=ir.DataType.INT32), op.const([2]), keepdims=0), to=ir.DataType.BOOL)  # type: ignore[no-any-return]


def _aggregated(op: Builder, forest: Forest, at: ir.Value, targets: int, aggregate: str, x: ir.Value) -> ir.Value:
    """What the leaves [N, trees] give for each target, over all trees: [N, targets], in the dtype of x."""
    if bad := [target for _, target, _ in forest.scores if not 0 <= target < targets]:
        raise HubError(f"a tree's leaf scores target {bad[0]} of {targets}")
    absent = {"MIN": np.inf, "MAX": -np.inf}.get(aggregate, 0.0)
    table = np.full((len(forest.true), targets), absent, dtype=np.float64)
    for node, target, weight in forest.scores:
        if aggregate in ("SUM", "AVERAGE"):
            table[node, target] += weight
        else:
            table[node, target] = (min if aggregate == "MIN" else max)(table[node, target], weight)
    weights = op.CastLike(op.const(table, np.float64), x)
    reduce = {"MIN": op.ReduceMin, "MAX": op.ReduceMax}.get(aggregate, op.ReduceSum)
    scores = reduce(op.Gather(weights, at), op.const([1]), keepdims=0)
    if aggregate == "AVERAGE":
        scores = op.Div(scores, op.scalar(len(forest.roots), x))
    if np.isinf(absent):  # a target that no tree scores
        scores = op.Where(op.IsInf(scores), op.scalar(0.0, x), scores)
    return scores  # type: ignore[no-any-return]


def _features(op: Builder, node: ir.Node) -> ir.Value:
    """X as the thresholds are compared: float64 as it is, any other dtype as float32."""
    x: ir.Value | None = node.inputs[0]
    if x is not None and dtype(x) in (ir.DataType.FLOAT, ir.DataType.DOUBLE):
        return x
    made: ir.Value = op.Cast(x, to=ir.DataType.FLOAT)
    return made


def _named(op_type: str, kind: str, names: Sequence[str], number: int) -> str:
    if not 0 <= number < len(names):
        raise HubError(f"{op_type} with {kind} {number}; there are 0 to {len(names) - 1}")
    return names[number]


@expands("TreeEnsemble", ML)
def tree_ensemble(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Y [N, n_targets] of X [N, F], in the dtype of X."""
    forest, x = _of_leaves(node), _features(op, node)
    aggregate = _named(
        "TreeEnsemble", "aggregate_function", AGGREGATES, node.attributes.get_int("aggregate_function", 1)
    )
    transform = _named("TreeEnsemble", "post_transform", TRANSFORMS, node.attributes.get_int("post_transform", 0))
    targets = node.attributes.get_int("n_targets", 1)
    scores = _aggregated(op, forest, _leaves(op, forest, x, node.name or ""), targets, aggregate, x)
    return [op.CastLike(transformed(op, scores, transform), node.inputs[0])]


@expands("TreeEnsembleRegressor", ML)
def tree_ensemble_regressor(op: Builder, node: ir.Node) -> list[ir.Value]:
    """Y [N, n_targets] of X [N, F], float32."""
    forest, x = _of_ids(node, "target"), _features(op, node)
    aggregate = node.attributes.get_string("aggregate_function", "SUM")
    if aggregate not in AGGREGATES:
        raise HubError(
            f"TreeEnsembleRegressor with aggregate_function {aggregate!r}; there are {', '.join(AGGREGATES)}"
        )
    targets = node.attributes.get_int("n_targets", 1)
    scores = _aggregated(op, forest, _leaves(op, forest, x, node.name or ""), targets, aggregate, x)
    scores = _based(op, node, scores, targets)
    scores = transformed(op, scores, node.attributes.get_string("post_transform", "NONE"))
    return [op.Cast(scores, to=ir.DataType.FLOAT)]


def _based(op: Builder, node: ir.Node, scores: ir.Value, targets: int) -> ir.Value:
    base = _numbers(node, "base_values")
    if base.size not in (0, 1, targets):
        raise HubError(f"{node.op_type} {node.name!r} has {base.size} base values for {targets} scores")
    made: ir.Value = scores if base.size == 0 else op.Add(scores, op.CastLike(op.const(base, base.dtype), scores))
    return made


@expands("TreeEnsembleClassifier", ML)
def tree_ensemble_classifier(op: Builder, node: ir.Node) -> list[ir.Value]:
    """The label [N] and the scores [N, classes] of X [N, F]; scores are float32.

    Two classes of which the trees score one have that as their score: a probability where no weight is negative, else
    a margin. Labels and scores are then as ONNX Runtime gives them.
    """
    forest, x = _of_ids(node, "class"), _features(op, node)
    transform = node.attributes.get_string("post_transform", "NONE")
    labels, is_text = labels_of(node)
    scored = {target for _, target, _ in forest.scores}
    at = _leaves(op, forest, x, node.name or "")
    scores = _aggregated(op, forest, at, max(len(labels), 1), "SUM", x)
    one_of_two = len(labels) == 2 and len(scored) == 1 and _numbers(node, "base_values").size <= 1
    if one_of_two:
        column = scored.pop()
        margin = op.Gather(scores, op.const([column]), axis=1)
        if column == 0:
            margin = _based(op, node, margin, 1)
        is_probability = all(weight >= 0 for _, _, weight in forest.scores)
        is_second = op.Greater(flat(op, margin), op.scalar(0.5 if is_probability else 0.0, x))
        label = binary_label(op, node, is_second)
        if column == 1:
            both = op.Concat(op.Mul(margin, op.scalar(0.0, x)), margin, axis=1)
        else:
            both = two_scores(op, margin, transform, is_probability=is_probability)
        scores = transformed(op, both, transform)
    else:
        scores = _based(op, node, scores, len(labels))
        if len(labels) == 1 and not is_text:  # whether it is the class, and no label of it
            label = op.Cast(op.Greater(flat(op, scores), op.scalar(0.0, x)), to=ir.DataType.INT64)
        elif len(labels) == 1:
            label = label_at(op, node, op.ArgMax(scores, axis=1, keepdims=0))
        else:
            label = top_label(op, node, scores)
        scores = transformed(op, scores, transform)
    return [label, op.Cast(scores, to=ir.DataType.FLOAT)]
