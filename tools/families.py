"""The publishers' modules for `make sweep`: one builder a family, over the lists in families.yaml."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from zoo.architectures.make import Source, settled

LISTS = Path(__file__).with_name("families.yaml")


def recipes(family: str) -> dict[str, dict[str, Any]]:
    """Name -> recipe of every model of a family."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(LISTS.read_text())[family]
    return {name: recipe or {} for name, recipe in found.items()}


def recipe(family: str, name: str) -> dict[str, Any]:
    """How a model of a family is built."""
    return recipes(family)[name]


def build(family: str, name: str) -> Source:
    """A publisher's module with seeded random weights, in inference mode, and what to show it."""
    torch.manual_seed(0)
    return settled(BUILDERS[family](name, recipe(family, name)))


def flat(made: Any, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors of whatever a module gives, named by their place, in the exporter's order."""
    if isinstance(made, torch.Tensor):
        yield prefix or "output", made
    elif isinstance(made, Mapping):
        for key, value in made.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(made, (list, tuple)):
        for i, value in enumerate(made):
            yield from flat(value, f"{prefix}.{i}" if prefix else f"output_{i}")


def _source(module: torch.nn.Module, kwargs: dict[str, Any], free: dict[str, Any], package: str) -> Source:
    with torch.no_grad():
        outputs = [name for name, _ in flat(module.eval()(**kwargs))]
    return Source(module, kwargs, free, outputs, package)


def _torchvision(name: str, recipe: Mapping[str, Any]) -> Source:
    import torchvision

    name, size = recipe.get("model", name), recipe.get("size", 224)
    arguments = {"weights": None} | recipe.get("arguments", {})
    module = torchvision.models.get_model(name, **arguments)
    frames = recipe.get("frames")
    shape = (2, 3, frames, size, size) if frames else (2, 3, size, size)
    if recipe.get("kind") == "detection":
        return _source(module, {"images": [torch.rand(3, size, size)]}, {"images": [{}]}, "torchvision")
    if recipe.get("kind") == "flow":
        pair = {name: torch.rand(shape) * 2 - 1 for name in ("image1", "image2")}
        return _source(module, pair, dict.fromkeys(pair, {0: "batch"}), "torchvision")
    argument = next(iter(inspect.signature(module.forward).parameters))
    return _source(module, {argument: torch.randn(shape)}, {argument: {0: "batch"}}, "torchvision")


def _timm(name: str, recipe: Mapping[str, Any]) -> Source:
    import timm

    module = timm.create_model(recipe.get("model", name), pretrained=False)
    channels, *size = module.pretrained_cfg["input_size"]
    if "size" in recipe:
        size = [recipe["size"]] * 2
    return _source(module, {"x": torch.randn(2, channels, *size)}, {"x": {0: "batch"}}, "timm")


def _transformers(name: str, recipe: Mapping[str, Any]) -> Source:
    import transformers

    cls = getattr(transformers, recipe["class"])
    config = cls.config_class(**recipe.get("config", {}))
    # torch's decomposition of its fused attention can't be viewed as some models view it, where the batch is free
    config._attn_implementation = recipe.get("attention", "sdpa" if cls._supports_sdpa else "eager")
    config.use_cache = False
    module = cls(config, **recipe.get("arguments", {}))
    module.config.return_dict = True
    kwargs, free = {}, {}
    for argument, kind in recipe["inputs"].items():
        kwargs[argument], free[argument] = INPUTS[kind](recipe, config)
    return _source(module, kwargs, free, "transformers")


def _ids(recipe: Mapping[str, Any], config: Any) -> tuple[torch.Tensor, dict[int, str]]:
    return torch.randint(5, 90, (2, 9)), {0: "batch", 1: "sequence"}


def _decoder_ids(recipe: Mapping[str, Any], config: Any) -> tuple[torch.Tensor, dict[int, str]]:
    return torch.randint(5, 90, (2, 6)), {0: "batch", 1: "target"}


def _mask(recipe: Mapping[str, Any], config: Any) -> tuple[torch.Tensor, dict[int, str]]:
    mask = torch.ones(2, 9, dtype=torch.int64)
    mask[1, 6:] = 0
    return mask, {0: "batch", 1: "sequence"}


def _types(recipe: Mapping[str, Any], config: Any) -> tuple[torch.Tensor, dict[int, str]]:
    return torch.zeros(2, 9, dtype=torch.int64), {0: "batch", 1: "sequence"}


def _pixels(recipe: Mapping[str, Any], config: Any) -> tuple[torch.Tensor, dict[int, str]]:
    size = recipe.get("size", 64)
    return torch.randn(2, 3, size, size), {0: "batch"}


def _spectrogram(recipe: Mapping[str, Any], config: Any) -> tuple[torch.Tensor, dict[int, str]]:
    return torch.randn(2, config.num_mel_bins, config.max_source_positions * 2), {0: "batch"}


INPUTS: dict[str, Callable[[Mapping[str, Any], Any], tuple[torch.Tensor, dict[int, str]]]] = {
    "ids": _ids,
    "decoder_ids": _decoder_ids,
    "mask": _mask,
    "types": _types,
    "pixels": _pixels,
    "spectrogram": _spectrogram,
}
BUILDERS: dict[str, Callable[[str, Mapping[str, Any]], Source]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "transformers": _transformers,
}
