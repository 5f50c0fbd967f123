"""Attention in torch in all its forms, against onnx's reference; and what is written for the plain ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

import zoo

torch = pytest.importorskip("torch")

RNG = np.random.default_rng(0)
B, H, M, N, D, E = 2, 4, 3, 5, 8, 6  # batch, heads, queries, keys, size of a key, size of a value


def f(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def i(*items):
    return np.array(items, dtype=np.int64)


def qkv(heads=H, rank=4):
    if rank == 3:
        return [f(B, M, H * D), f(B, N, heads * D), f(B, N, heads * E)]
    return [f(B, H, M, D), f(B, heads, N, D), f(B, heads, N, E)]


MASKS = [
    *(f(*shape) for shape in [(N,), (M, N), (M, 1), (H, M, N), (1, 1, N), (B, 1, M, N), (B, H, M, N), (1, H, 1, N)]),
    *(RNG.random(shape) < 0.7 for shape in [(N,), (M, N), (H, M, N), (B, 1, M, N), (B, H, M, N)]),
]


@pytest.mark.parametrize("mask", MASKS, ids=[f"{m.dtype}{list(m.shape)}" for m in MASKS])
@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("heads", [H, 2, 1])
def test_masks_of_every_rank(agrees, operator, mask, causal, heads):
    given, attributes = qkv(heads), {"is_causal": causal}
    # the reference counts queries by the mask's rows
    full = np.broadcast_to(mask, np.broadcast_shapes(mask.shape, (M, mask.shape[-1])))
    model, feeds = operator("Attention", attributes, [*given, full])
    agrees("Attention", attributes, [*given, mask], ReferenceEvaluator(model).run(None, feeds))


@pytest.mark.parametrize("heads", [H, 2])
@pytest.mark.parametrize("causal", [0, 1])
def test_heads_in_the_last_axis(agrees, heads, causal):
    attributes = {"q_num_heads": H, "kv_num_heads": heads, "is_causal": causal}
    agrees("Attention", attributes, qkv(heads, rank=3))
    agrees("Attention", attributes, qkv(heads, rank=3), free=True)
    past = [f(B, heads, 2, D), f(B, heads, 2, E)]
    agrees("Attention", {**attributes, "scale": 0.3}, [*qkv(heads, rank=3), None, *past], outputs=3)


@pytest.mark.parametrize("mask", [None, f(M, N + 2), RNG.random((B, 1, M, N + 2)) < 0.7, f(M, N)])
@pytest.mark.parametrize(("causal", "softcap", "mode"), list(itertools.product([0, 1], [0.0, 1.5], [1, 2, 3])))
def test_caches_caps_and_products(agrees, mask, causal, softcap, mode):
    attributes = {"is_causal": causal, "softcap": softcap, "qk_matmul_output_mode": mode}
    agrees("Attention", attributes, [*qkv(2), mask, f(B, 2, 2, D), f(B, 2, 2, E)], outputs=4)


def test_the_raw_products_are_not_capped(agrees):
    q, k, v = f(B, H, M, D), f(B, H, N, D), f(B, H, N, E)
    model_outputs = agrees("Attention", {"qk_matmul_output_mode": 0}, [q, k, v], outputs=["y", "", "", "qk"])
    capped = agrees("Attention", {"softcap": 0.5}, [q, k, v])
    weights = np.exp(0.5 * np.tanh(model_outputs[1] / 0.5))
    np.testing.assert_allclose(weights / weights.sum(-1, keepdims=True) @ v, capped[0], atol=1e-5)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("mask", [None, f(M, N), RNG.random((B, 1, M, N)) < 0.8, f(M, N - 1)])
@pytest.mark.parametrize("lengths", [i(5, 3), i(1, 4), i(4, 2)])
def test_keys_beyond_a_samples_length_are_not_attended(agrees, causal, mask, lengths):
    agrees("Attention", {"is_causal": causal}, [*qkv(2), mask, None, None, lengths])


@pytest.mark.parametrize(("left", "right", "causal"), [(1, -1, 0), (-1, 0, 0), (2, 1, 0), (1, -1, 1), (0, 0, 1)])
@pytest.mark.parametrize("mask", [None, f(M, N), RNG.random(N) < 0.8])
def test_windows(agrees, left, right, causal, mask):
    attributes = {"left_window_size": left, "right_window_size": right, "is_causal": causal}
    agrees("Attention", attributes, [*qkv(2), mask])
    agrees("Attention", attributes, [*qkv(2), None, f(B, 2, 2, D), f(B, 2, 2, E)])


@pytest.mark.parametrize("precision", [None, 1, 11])
@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_half_precision_is_near_what_double_precision_gives(agrees, precision, softcap):
    half = [x.astype(np.float16) for x in (*qkv(), f(M, N))]
    (wide,) = agrees("Attention", {"softcap": softcap}, [x.astype(np.float64) for x in half])
    attributes = {"softcap": softcap} | ({} if precision is None else {"softmax_precision": precision})
    agrees("Attention", attributes, half, [wide.astype(np.float16)])


def test_a_query_that_attends_nothing_gives_zeros(agrees):
    mask = np.ones((M, N), dtype=bool)
    mask[1] = False
    for attributes in ({}, {"softcap": 2.0}, {"is_causal": 1}):
        (y,) = agrees("Attention", attributes, [*qkv(), mask])
        assert not y[:, :, 1].any()
        additive = np.where(mask, 0, -np.inf).astype(np.float32)
        agrees("Attention", attributes, [*qkv(), additive])


@pytest.mark.parametrize(
    ("given", "attributes", "expected"),
    [
        (qkv(), {}, "scaled_dot_product_attention(x0, x1, x2)"),
        (qkv(), {"scale": D**-0.5}, "scaled_dot_product_attention(x0, x1, x2)"),
        (qkv(), {"is_causal": 1}, "scaled_dot_product_attention(x0, x1, x2, is_causal=True)"),
        ([*qkv(), f(M, N)], {}, "scaled_dot_product_attention(x0, x1, x2, attn_mask=x3)"),
        (qkv(2), {"scale": 0.1}, "scaled_dot_product_attention(x0, x1, x2, scale=0.1, enable_gqa=True)"),
    ],
)
def test_plain_attention_is_torchs_own_function(operator, given, attributes, expected):
    model, _ = operator("Attention", attributes, given)
    assert expected in zoo.load(model, "torch").code


@pytest.mark.parametrize("attributes", [{"is_causal": 1}, {"softcap": 1.0}, {"left_window_size": 1}])
def test_attention_with_a_cache_of_any_length_is_compiled_in_one_graph(operator, attributes):
    given = [*qkv(2), None, f(B, 2, 2, D), f(B, 2, 2, E)]
    model, feeds = operator("Attention", attributes, given, outputs=3, free=True)
    module = zoo.load(model, "torch")
    compiled = torch.compile(module, fullgraph=True, backend="eager", dynamic=True)
    tensors = [torch.from_numpy(v).requires_grad_() for v in feeds.values()]
    for name, value in compiled(*tensors).items():
        torch.testing.assert_close(value, module(*tensors)[name])
    module(*tensors)["y0"].sum().backward()
    assert all(t.grad is not None for t in tensors)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("size", [0, 4])
@pytest.mark.parametrize("has_positions", [False, True])
@pytest.mark.parametrize("rank", [3, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rotary_embeddings(agrees, interleaved, size, has_positions, rank, dtype):
    angles = (size or D) // 2
    x = f(B, H, M, D, dtype=dtype) if rank == 4 else f(B, M, H * D, dtype=dtype)
    shape = (9, angles) if has_positions else (B, M, angles)
    cos, sin = f(*shape, dtype=dtype), f(*shape, dtype=dtype)
    positions = [RNG.integers(0, 9, (B, M))] if has_positions else []
    attributes = {"interleaved": interleaved, "rotary_embedding_dim": size}
    attributes |= {"num_heads": H} if rank == 3 else {}
    agrees("RotaryEmbedding", attributes, [x, cos, sin, *positions])


@pytest.mark.parametrize("rule", ["linear", "gated", "delta", "gated_delta"])
@pytest.mark.parametrize("heads", [H, 2, 1])
@pytest.mark.parametrize("has_state", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_linear_attention(agrees, rule, heads, has_state, dtype):
    q, k, v = (x.astype(dtype) for x in qkv(heads, rank=3))
    k, v = k[:, :M], v[:, :M]
    state = f(B, heads, D, E) if has_state else None
    decays = [-np.abs(f(B, M, heads, dtype=dtype)), -np.abs(f(B, M, heads * D, dtype=dtype))]
    betas = [RNG.random((B, M, heads)).astype(dtype), RNG.random((B, M, 1)).astype(dtype)]
    for decay, beta in zip(decays, betas, strict=True):
        given = [decay if "gated" in rule else None, beta if "delta" in rule else None]
        attributes = {"q_num_heads": H, "kv_num_heads": heads, "update_rule": rule}
        if dtype == np.float16 and state is not None:
            state = state.astype(dtype)
        agrees("LinearAttention", attributes, [q, k, v, state, *given], outputs=2)
        agrees("LinearAttention", {**attributes, "scale": 0.5}, [q, k, v, state, *given], outputs=2)


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize("length", [1, 2, 6])
@pytest.mark.parametrize("activation", ["none", "silu", "swish"])
def test_convolutions_over_places_that_have_been(agrees, size, length, activation):
    x, weight, bias, past = f(B, 3, length), f(3, 1, size), f(3), f(B, 3, size - 1)
    for given in ([x, weight], [x, weight, bias], [x, weight, bias, past], [x, weight, None, past]):
        agrees("CausalConvWithState", {"activation": activation}, given, outputs=2)


@pytest.mark.parametrize("attributes", [{}, {"scale": 0.2}, {"softmax_precision": 11}])
@pytest.mark.parametrize("heads", [H, 2])
def test_flexible_attention_without_graphs(agrees, attributes, heads):
    agrees("FlexAttention", attributes, qkv(heads), domain="ai.onnx.preview")


def test_flexible_attention_reads_what_is_around_it(graph):
    import onnx_ir as ir

    model = graph("""
        <ir_version: 10, opset_import: ["" : 28, "ai.onnx.preview" : 1]>
        agraph (float[2,4,3,8] q, float[2,2,5,8] k, float[2,2,5,6] v, float[3,5] bias) => (float[2,4,3,6] y) {
            y = ai.onnx.preview.FlexAttention <
                score_mod = scores (float[2,4,3,5] s) => (float[2,4,3,5] t) { t = Add (s, bias) },
                prob_mod = weights (float[2,4,3,5] p) => (float[2,4,3,5] r) { r = Mul (p, p) }
            > (q, k, v)
        }
    """)
    q, k, v = qkv(2)
    feeds = {"q": q, "k": k, "v": v, "bias": f(M, N)}
    proto = ir.to_proto(model)
    got = zoo.runner(proto, "torch").run(feeds)["y"]
    keys, values = (np.repeat(x, 2, 1) for x in (k, v))
    scores = q @ keys.swapaxes(2, 3) / np.sqrt(D) + feeds["bias"]
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    np.testing.assert_allclose(got, (weights / weights.sum(-1, keepdims=True)) ** 2 @ values, atol=1e-5)
