"""Small programs of torch's, one a family of operators: what the readers of its formats are tested on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class Of(nn.Module):
    """A function as a module, for tracing and exporting."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def seeded(shape: tuple[int, ...]) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)))


PICTURE, ROWS, STEPS = (2, 4, 9, 10), (3, 6), (2, 5, 6)
MASK = torch.tensor([[True, False, True, True, False, True]])
INDEX = torch.tensor([[0, 2, 1], [3, 3, 0]])

# name -> (what it computes, the shape of its input): tensors alone, and none that change with the input
FUNCTIONS: dict[str, tuple[Callable[[Tensor], Any], tuple[int, ...]]] = {
    "unary": (
        lambda x: torch.cat(
            [
                f(x)
                for f in (torch.sin, torch.cos, torch.tanh, torch.sigmoid, torch.exp, torch.erf, torch.abs, torch.neg)
            ]
            + [f(x) for f in (torch.floor, torch.ceil, torch.round, torch.trunc, torch.sign, torch.square, torch.frac)]
            + [f(x) for f in (torch.atan, torch.asinh, torch.sinh, torch.cosh, torch.expm1, torch.relu, torch.erfc)]
        ),
        ROWS,
    ),
    "positive": (
        lambda x: torch.cat(
            [f(x.abs() + 0.1) for f in (torch.log, torch.log2, torch.log10, torch.log1p, torch.sqrt, torch.rsqrt)]
            + [x.abs().reciprocal(), torch.logit(torch.sigmoid(x)), torch.exp2(x), x.abs() ** 1.7]
        ),
        ROWS,
    ),
    "scalars": (lambda x: (3 - (x * 2 + 1) / 4) ** 2 + 2 ** (x / 3) + 1 / (x + 9) - (-x), ROWS),
    "integers": (
        lambda x: torch.stack(
            [
                (x * 10).long() // 3,
                (x * 10).long() % 3,
                torch.div((x * 10).long(), 4, rounding_mode="trunc"),
                (x > 0).long() + 2,
                (x * 5).int().bitwise_and(3).long(),
                (x * 10).long(),
            ]
        ),
        ROWS,
    ),
    "mixed dtypes": (lambda x: (x > 0) * x + (x > 0.5).long() + torch.tensor(2) * x + torch.ones(6).double() * x, ROWS),
    "remainders": (lambda x: torch.remainder(x, 0.7) + torch.fmod(x, 0.3) + torch.floor_divide(x, 0.4), ROWS),
    "compare": (
        lambda x: torch.stack([x > 0, x >= 0.1, x < 0, x <= 0, x == x, x != x.abs()]).float(),
        ROWS,
    ),
    "logic": (lambda x: ((x > 0) & (x < 1) | ~(x > -1) ^ (x > 2)).to(torch.float32), ROWS),
    "clamps": (
        lambda x: torch.clamp(x, -0.5, 0.4) + x.clamp(min=0) + x.clamp(max=torch.zeros(6)) + torch.maximum(x, -x),
        ROWS,
    ),
    "wheres": (
        lambda x: torch.where(x > 0, x, 2.0) + x.masked_fill(x < 0, 5) + torch.nan_to_num(x / 0.0, 0.5, 3.0, -3.0),
        ROWS,
    ),
    "sums": (
        lambda x: torch.stack(
            [
                x.sum(dim=(0, 2)),
                x.mean((0, 2)),
                x.amax((0, 2)),
                x.prod(2).sum(0),
                x.std((0, 2)),
                x.var((0, 2), unbiased=False),
                x.norm(dim=(0, 2)),
                torch.logsumexp(x, (0, 2)),
                x.max(2).values.sum(0),
                x.min(0)[0].sum(1),
                x.argmax(2).float().sum(0),
                (x > 0).sum((0, 2)).float(),
                (x > 0).any(2).all(0).float(),
                torch.linalg.vector_norm(x, 3, (0, 2)),
                x.cumsum(1).sum((0, 2)),
            ]
        ),
        STEPS,
    ),
    "of all": (
        lambda x: torch.stack([x.sum(), x.mean(), x.max(), x.min(), x.std(), x.norm(), x.argmax().float()]),
        ROWS,
    ),
    "products": (
        lambda x: (
            (x @ x.mT).sum()
            + torch.einsum("bik,bjk->bij", x, x)
            + torch.bmm(x, x.transpose(1, 2))
            + torch.baddbmm(torch.ones(5), x, x.transpose(1, 2), beta=0.5, alpha=2)
        ),
        STEPS,
    ),
    "matrices": (
        lambda x: torch.addmm(torch.ones(3), x, x.t(), alpha=0.5) + x.mm(x.t()) + torch.outer(x[:, 0], x[:, 1]),
        ROWS,
    ),
    "views": (
        lambda x: (
            x.view(2, -1, 10).permute(2, 0, 1).contiguous().reshape(10, -1).t().flatten().unsqueeze(0).expand(2, -1)
        ),
        PICTURE,
    ),
    "sizes": (lambda x: x.view(x.size(0), x.shape[1], -1).transpose(1, 2).reshape(x.size(0) * 90, -1), PICTURE),
    "flattens": (lambda x: (x.flatten(1), x.flatten(0, 1), x.flatten(2), x.unflatten(1, (2, 2))), PICTURE),
    "squeezes": (lambda x: x[:, :1].squeeze(1).unsqueeze(-1).squeeze() + x.mean(1, keepdim=True).squeeze(1), PICTURE),
    "splits": (lambda x: (*x.split(2, 1), *x.chunk(3, 2), *x.unbind(0), *x.split([1, 4], 1)), STEPS),
    "slices": (lambda x: (x[:, 1:-1:2], x[..., -2:], x[0, :, 3], x[:, None, 2], x[:, :, [0, 2]]), STEPS),
    "joins": (lambda x: (torch.stack([x, x * 2], 1), torch.cat([x, x], -1), x.repeat(2, 1, 3), x.tile(2)), STEPS),
    "flips": (lambda x: x.flip(1) + x.roll(2, 1) + x.roll((1, -1), (0, 2)) + torch.rot90(x, 2, (1, 2)), STEPS),
    "triangles": (lambda x: torch.tril(x @ x.mT) + torch.triu(x @ x.mT, 1), STEPS),
    "indices": (
        lambda x: (
            x.index_select(1, torch.tensor([0, 3])),
            x.gather(2, INDEX.new_zeros(2, 5, 2)),
            x[:, torch.tensor([0, 1]), torch.tensor([2, 3])],
            torch.take_along_dim(x, x.argsort(1), 1),
        ),
        STEPS,
    ),
    "scatters": (
        lambda x: (
            torch.zeros(3, 6).scatter(1, INDEX.new_tensor([[0, 1], [2, 3], [4, 5]]), x[:, :2]),
            torch.zeros(3, 6).scatter_add(1, INDEX.new_tensor([[0, 0], [2, 2], [4, 4]]), x[:, :2]),
            x.index_add(0, torch.tensor([0, 0]), torch.ones(2, 6)),
            x.index_fill(1, torch.tensor([1]), 3.0),
        ),
        ROWS,
    ),
    "sorting": (lambda x: (*x.topk(2, 1), *x.sort(1, descending=True), x.argsort(0)), ROWS),
    "made of nothing": (
        lambda x: (
            x
            + torch.arange(6)
            + torch.linspace(0, 1, 6)
            + torch.eye(3, 6)
            + torch.full((6,), 2.5)
            + torch.zeros_like(x)
            + x.new_ones(6)
            + torch.meshgrid(torch.arange(3), torch.arange(6), indexing="ij")[0]
        ),
        ROWS,
    ),
    "in place": (lambda x: _in_place(x), ROWS),
    "activations": (
        lambda x: torch.cat(
            [f(x) for f in (F.relu6, F.elu, F.selu, F.celu, F.gelu, F.silu, F.mish, F.hardswish, F.hardsigmoid)]
            + [
                f(x)
                for f in (F.softplus, F.softsign, F.tanhshrink, F.softshrink, F.hardshrink, F.logsigmoid, F.hardtanh)
            ]
            + [F.leaky_relu(x, 0.2), F.gelu(x, approximate="tanh"), F.threshold(x, 0.1, 20), F.glu(x, 1).repeat(1, 2)]
            + [F.softmax(x, 1), F.log_softmax(x, 0), F.softmin(x, 1), F.normalize(x, dim=1), F.rrelu(x), F.elu(x, 0.3)]
            + [F.softplus(x, 2, 3)]
        ),
        ROWS,
    ),
    "pads": (
        lambda x: (
            F.pad(x, (1, 2)),
            F.pad(x, (1, 0, 2, 1), value=3),
            F.pad(x, (1, 2, 0, 3), mode="reflect"),
            F.pad(x, (1, 2, 0, 3), mode="replicate"),
            F.pad(x, (1, 2, 0, 3), mode="circular"),
            F.pad(x, (-1, -2)),
        ),
        PICTURE,
    ),
    "pools": (
        lambda x: (
            F.max_pool2d(x, 3, 2, 1),
            F.max_pool2d(x, 2, ceil_mode=True),
            F.max_pool2d(x, (3, 2), dilation=2),
            F.avg_pool2d(x, 3, 2, 1),
            F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
            F.avg_pool2d(x, 2, divisor_override=3),
            F.lp_pool2d(x.abs(), 2, 2),
        ),
        PICTURE,
    ),
    "ceil average": (lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True), PICTURE),
    "pools of other ranks": (
        lambda x: (
            F.max_pool1d(x[:, :, 0], 2),
            F.avg_pool1d(x[:, :, 0], 3, 2),
            F.max_pool3d(x[:, None], 2),
            F.avg_pool3d(x[:, None], 2),
        ),
        PICTURE,
    ),
    "adaptive": (
        lambda x: (
            F.adaptive_avg_pool2d(x, 1),
            F.adaptive_avg_pool2d(x, (3, 4)),
            F.adaptive_avg_pool2d(x, (3, 5)),
            F.adaptive_max_pool2d(x, (2, 7)),
            F.adaptive_avg_pool2d(x, (None, 3)),
            F.adaptive_avg_pool1d(x[:, :, 0], 4),
        ),
        PICTURE,
    ),
    "resizes": (
        lambda x: (
            F.interpolate(x, scale_factor=2),
            F.interpolate(x, size=(5, 17)),
            F.interpolate(x, scale_factor=1.5, mode="bilinear"),
            F.interpolate(x, size=(7, 4), mode="bilinear", align_corners=True),
            F.interpolate(x, size=(12, 15), mode="bicubic"),
            F.interpolate(x, size=(12, 15), mode="nearest-exact"),
            F.interpolate(x[:, :, 0], scale_factor=2, mode="linear"),
            F.interpolate(x[:, None], scale_factor=2, mode="trilinear"),
        ),
        PICTURE,
    ),
    "samplers": (
        lambda x: (
            F.grid_sample(x, F.affine_grid(torch.tensor([[[0.8, 0.1, 0], [0, 0.9, 0.2]]] * 2), [2, 4, 5, 6])),
            F.grid_sample(
                x,
                F.affine_grid(torch.eye(2, 3).repeat(2, 1, 1), [2, 4, 5, 6], True),
                padding_mode="border",
                align_corners=True,
            ),
        ),
        PICTURE,
    ),
    "shuffles": (
        lambda x: (F.pixel_shuffle(x, 2), F.pixel_unshuffle(x[..., :8, :], 2), F.channel_shuffle(x, 2)),
        PICTURE,
    ),
    "windows": (
        lambda x: (F.unfold(x, 3, padding=1, stride=2), F.fold(F.unfold(x, 3), (9, 10), 3), x.unfold(3, 4, 2)),
        PICTURE,
    ),
    "distances": (
        lambda x: (F.cosine_similarity(x, x.flip(0)), F.pairwise_distance(x, x.flip(0)), torch.cdist(x, x)),
        ROWS,
    ),
    "attention": (
        lambda x: (
            F.scaled_dot_product_attention(x, x, x),
            F.scaled_dot_product_attention(x, x, x, is_causal=True),
            F.scaled_dot_product_attention(x, x, x, torch.ones(5, 5).tril().bool()),
        ),
        (2, 3, 5, 4),
    ),
    "norms": (
        lambda x: (
            F.layer_norm(x, (10,)),
            F.instance_norm(x),
            F.group_norm(x, 2),
            F.local_response_norm(x, 3),
            F.rms_norm(x, (10,)),
        ),
        PICTURE,
    ),
    "losses": (
        lambda x: (
            F.mse_loss(x, x * 2),
            F.smooth_l1_loss(x, x * 2),
            F.cross_entropy(x, torch.tensor([0, 1, 2])),
            F.binary_cross_entropy_with_logits(x, x.sigmoid()),
            F.kl_div(x, x.sigmoid(), reduction="sum"),
        ),
        ROWS,
    ),
    "extremes": (
        lambda x: (
            x.cummax(1).values,
            x.cumprod(1),
            x.median(1).values,
            x.kthvalue(2, 1).values,
            (x > 0).count_nonzero(1),
        ),
        ROWS,
    ),
    "vectors": (
        lambda x: torch.cross(x[:, :3], x[:, 3:], dim=1) + torch.hypot(x, x)[:, :3] + torch.sinc(x)[:, :3],
        ROWS,
    ),
    "one hot": (lambda x: F.one_hot(x.argmax(1), 6).float(), ROWS),
    "bags": (lambda x: F.embedding_bag(x.argsort(1), torch.arange(12.0).view(6, 2), mode="mean"), ROWS),
}


def _in_place(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 0] = 5
    y[1] += 2
    y[:, 2:4].mul_(3)
    y.add_(1).relu_()
    y[0, 1:3] = torch.tensor([7.0, 8.0])
    z = torch.zeros(3, 6)
    z[:, ::2] = y[:, ::2]
    return y + z


class Loops(nn.Module):
    """Control flow that a script keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6) for _ in range(3)])
        self.named = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Tanh()})
        self.scale = 0.5
        self.register_buffer("shift", torch.ones(6))

    def forward(self, x: Tensor, times: int = 2) -> Tensor:
        parts: list[Tensor] = []
        for i, layer in enumerate(self.layers):
            x = layer(x) if i % 2 == 0 else x + layer(x)
            parts.append(x)
        for _ in range(times):
            x = x * self.scale + self.shift
        if x.size(1) > 3:
            x = torch.cat(parts, 1)[:, :6] + x
        else:
            x = -x
        k = 0
        while k < 3:
            x = self.named["a"](x)
            k += 1
        return x


class Branches(nn.Module):
    """Branches and loops whose course hangs on the numbers."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.sum() > 0:
            y = x * 2
            n = 3
        else:
            y = x - 1
            n = 5
        total = torch.zeros(6)
        for i in range(x.size(0)):
            total = total + x[i] * i
        steps = 0
        while bool(y.abs().max() > 0.5):
            y = y / 2
            steps += 1
        return y * n + steps, total


class Helpers(nn.Module):
    """What scripts do besides tensors: optional values, named tuples, text, lists, early returns."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 4)
        self.mode = "mean"

    def pooled(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return x.mean(0)
        return (x * mask).sum(0)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        if x.dim() != 2:
            raise ValueError(f"2 axes, not {x.dim()}")
        sizes = [x.size(0), x.size(1)]
        h = self.fc(x)
        if self.mode == "mean":
            p = self.pooled(h)
        else:
            p = self.pooled(h, torch.ones_like(h))
        a, b = h.chunk(2, dim=1)
        return {"pooled": p, "both": torch.cat([a, b.abs()], 1).view(sizes[0], -1), "count": torch.tensor(sizes[1])}


class Recurrent(nn.Module):
    """Every recurrent layer, of several layers and both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 4, 2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(8, 5, 2)
        self.rnn = nn.RNN(5, 4, nonlinearity="relu", bias=False)
        self.cells = nn.ModuleList([nn.LSTMCell(4, 3), nn.GRUCell(3, 3), nn.RNNCell(3, 3)])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x, (h, _) = self.lstm(x)
        x, _ = self.gru(x)
        x, _ = self.rnn(x)
        last = x[:, -1]
        state, cell = self.cells[0](last)
        return self.cells[2](self.cells[1](state)) + cell, h


class Layers(nn.Module):
    """Layers of a picture network."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(4, 8, 3, padding="same", dilation=2), nn.BatchNorm2d(8), nn.PReLU(8), nn.Dropout(0.3)
        )
        self.middle = nn.Sequential(nn.ConvTranspose2d(8, 4, 3, 2, 1, 1, groups=2), nn.GroupNorm(2, 4), nn.Hardswish())
        self.norm = nn.InstanceNorm2d(4, affine=True)
        self.running = nn.InstanceNorm2d(4, track_running_stats=True)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d((2, 3)), nn.Flatten(), nn.LayerNorm(24), nn.Linear(24, 5))
        self.last = nn.Bilinear(5, 5, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.head(self.running(self.norm(self.middle(self.stem(x)))))
        return self.last(y, y)


class Text(nn.Module):
    """A small transformer of torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8, padding_idx=0)
        self.place = nn.Parameter(torch.randn(1, 7, 8))
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu", norm_first=True)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.out = nn.Linear(8, 11)
        self.out.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.encoder(self.embed(ids) + self.place[:, : ids.size(1)])
        y, _ = self.attention(x, x, x, need_weights=False)
        return self.out(x + y)


MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "loops": (Loops, ROWS),
    "branches": (Branches, ROWS),
    "helpers": (Helpers, ROWS),
    "recurrent": (Recurrent, STEPS),
    "layers": (Layers, PICTURE),
    "text": (Text, (2, 7)),
}
KEEP_CONTROL = ("branches",)  # what only a script keeps: a trace has one way, and an export asks for torch.cond
SCRIPTED = ("loops", "branches", "helpers", "recurrent", "layers", "text")


def module(name: str) -> nn.Module:
    torch.manual_seed(3)
    made = MODULES[name][0]() if name in MODULES else Of(FUNCTIONS[name][0])
    for value in made.buffers():
        if value.dtype.is_floating_point:
            value.data = value.data + torch.rand(value.shape)
    return made.eval()


def example(name: str) -> Tensor:
    shape = (MODULES.get(name) or FUNCTIONS[name])[1]
    random = torch.Generator().manual_seed(7)
    return torch.randint(0, 11, shape, generator=random) if name == "text" else seeded(shape)


def flat(value: Any) -> list[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [part for item in value for part in flat(item)]
    return [value.detach().numpy()]
