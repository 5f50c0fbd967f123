"""Instances that become one class: optional parts, modules as parameters, blocks in a row; and those that can't."""

from __future__ import annotations

import importlib.util

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402
from torch import fx, nn  # noqa: E402

from zoo.converters.writers.torch.module import assemble  # noqa: E402
from zoo.converters.writers.torch.source.file import text  # noqa: E402
from zoo.converters.writers.torch.source.render import Source  # noqa: E402
from zoo.converters.writers.torch.source.tree import CONTAINERS, Tree  # noqa: E402


class Shallow(fx.Tracer):
    """Traces one forward: every child is called, and none looked into."""

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        return True


def native(module: nn.Module) -> nn.Module:
    """What the writer makes: a graph for each module of a class of this file, torch's own as they are."""
    for name, child in list(module.named_children()):
        if type(child) in CONTAINERS or type(child).__module__ == __name__:
            module._modules[name] = native(child)
    if type(module) in CONTAINERS:
        return module
    return assemble(module, Shallow().trace(module), type(module).__name__)


@pytest.fixture
def source(tmp_path):
    def write(module: nn.Module) -> str:
        """The classes of the source, after its model was found to be the module's twin."""
        torch.manual_seed(0)
        model = native(module).eval()
        made = Source(Tree(model, {}))
        (tmp_path / "model.py").write_text(text(made, "A model.", [], {}))
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        spec = importlib.util.spec_from_file_location("a_source", tmp_path / "model.py")
        assert spec is not None and spec.loader is not None
        file = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(file)
        twin = file.create_model()
        assert list(model.state_dict()) == list(twin.state_dict())
        assert [n for n, _ in model.named_modules()] == [n for n, _ in twin.named_modules()]
        x = torch.randn(3, 4)
        torch.testing.assert_close(twin(x), model(x), rtol=0, atol=0)
        return "\n".join(made.class_texts())

    return write


class Chain(nn.Module):
    def __init__(self, *members: nn.Module):
        super().__init__()
        self.members = nn.Sequential(*members)

    def forward(self, x):
        return self.members(x)


class Block(nn.Module):
    def __init__(self, size, act, norm, skip=False, extra=False):
        super().__init__()
        self.first, self.act, self.norm, self.skip, self.extra = nn.Linear(size, size), act, norm, skip, extra
        if extra:
            self.second, self.scale = nn.Linear(size, size), nn.Parameter(torch.rand(size))

    def forward(self, x):
        y = self.act(self.norm(self.first(x)))
        if self.extra:
            y = torch.relu(self.second(y) * self.scale) + 0.5
        return y + x if self.skip else y


def test_parts_that_only_some_have_stand_under_a_flag(source):
    made = source(
        Chain(
            Block(4, nn.ReLU(), nn.LayerNorm(4), skip=True),
            Block(4, nn.GELU(), nn.LayerNorm(4), extra=True),
            Block(4, nn.GELU("tanh"), nn.Identity(), skip=True, extra=True),
            Block(4, nn.LeakyReLU(0.2), nn.BatchNorm1d(4), skip=True),
        )
    )
    assert 1 == made.count("class Block")
    assert "scale: bool = False, residual: bool = False" in made
    assert "if self.scale is not None:" in made and "if self.residual:" in made
    assert 'Block(nn.GELU(approximate="tanh"), nn.Identity(), scale=True, residual=True)' in made


class Inner(nn.Module):
    def __init__(self, size, acts):
        super().__init__()
        self.acts, self.out = nn.Sequential(*acts), nn.Linear(size, 2 * size)

    def forward(self, x):
        return self.out(self.acts(x))


class Outer(nn.Module):
    def __init__(self, size, one, other):
        super().__init__()
        self.one, self.other = Inner(size, one), Inner(size, other)

    def forward(self, x):
        return self.one(x) + self.other(x)


def test_a_module_that_is_a_parameter_is_never_in_two_places(source):
    made = source(
        Chain(
            Outer(4, [nn.PReLU(4), nn.ReLU()], [nn.PReLU(4), nn.ReLU()]),
            Outer(8, [nn.Linear(8, 8)], [nn.Linear(8, 8)]),
            Outer(16, [nn.ReLU()], [nn.ReLU()]),
        )
    )
    assert "self.one = Inner(in_features, acts)" in made
    assert "self.other = Inner(in_features, acts_2)" in made


def test_a_choice_of_activation_is_a_class_that_is_called(source):
    made = source(Chain(Block(4, nn.ReLU(), nn.Identity()), Block(4, nn.Hardswish(), nn.Identity())))
    assert "act: type[nn.Module]" in made and "self.act = act()" in made
    assert "Block(nn.ReLU), Block(nn.Hardswish)" in made


class Stage(nn.Module):
    def __init__(self, size, rates):
        super().__init__()
        self.blocks = nn.Sequential(*(Block(size, nn.ReLU(), nn.Dropout(p), skip=True) for p in rates))
        self.out = nn.Linear(size, 2 * size)

    def forward(self, x):
        return self.out(self.blocks(x))


def test_stages_of_other_lengths_take_a_list_of_what_differs(source):
    made = source(Chain(Stage(4, [0.1]), Stage(8, [0.2, 0.3]), Stage(16, [0.3, 0.4, 0.5])))
    assert "nn.Sequential(*(Block(dim, value) for value in norm))" in made
    assert "Stage(8, (0.2, 0.3))" in made and "nn.Linear(dim, 2 * dim)" in made


class Series(nn.Module):
    def __init__(self, first, second):
        super().__init__()
        self.first = nn.Linear(4, 4) if first else None
        self.second = nn.Linear(4, 4) if second else nn.Identity()
        self.gate = nn.Linear(4, 4)

    def forward(self, x):
        y = x if self.first is None else self.first(x)
        y = y if isinstance(self.second, nn.Identity) else self.second(y)
        return self.gate(y) * x + y


def test_two_optional_parts_of_one_value_and_the_value_is_read_again(source):
    made = source(Chain(Series(True, True), Series(False, True), Series(True, False), Series(False, False)))
    assert 1 == made.count("class Series") and "if self.first is not None:" in made
    assert "self.second = nn.Linear(4, 4) if second else nn.Identity()" in made


class Nest(nn.Module):
    def __init__(self, depth):
        super().__init__()
        self.inner, self.out = Nest(depth - 1) if depth else nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.out(self.inner(x))


def test_a_class_that_holds_its_own_kind_is_one_for_each_depth(source):
    made = source(Chain(Nest(2), Nest(1)))
    assert 3 == made.count("class Nest")


class Twice(nn.Module):
    def __init__(self, other):
        super().__init__()
        self.a, self.b, self.other = nn.Linear(4, 4), nn.Linear(4, 4), other

    def forward(self, x):
        return self.a(self.b(x)) if self.other else self.b(self.a(x))


def test_forwards_that_are_no_cases_of_each_other_are_two_classes(source):
    made = source(Chain(Twice(True), Twice(False)))
    assert "class Twice(" in made and "class Twice2(" in made
