"""Photographs of odd sizes, a tokenizer, real models as Runners."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from zoo import registry
from zoo.converters.runner import TensorSpec
from zoo.store import default_store

SAMPLES = Path(__file__).resolve().parents[3] / "zoo" / "samples"
DTYPES = {"tensor(float)": "float32", "tensor(int64)": "int64"}


class Session:
    """A Runner: ONNX Runtime on a file or on bytes."""

    def __init__(self, model: str | bytes) -> None:
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self.inputs = [self.spec(value) for value in self.session.get_inputs()]
        self.outputs = [self.spec(value) for value in self.session.get_outputs()]

    @staticmethod
    def spec(value) -> TensorSpec:
        shape = tuple(size if isinstance(size, int) else str(size) for size in value.shape)
        return TensorSpec(value.name, DTYPES[value.type], shape)

    def run(self, feeds):
        return dict(zip([spec.name for spec in self.outputs], self.session.run(None, dict(feeds)), strict=True))

    @property
    def metadata(self) -> dict[str, str]:
        return self.session.get_modelmeta().custom_metadata_map


@pytest.fixture(scope="session")
def samples() -> Path:
    return SAMPLES


@pytest.fixture(scope="session")
def real():
    """A registry's model: its weights, and its files by role, fetched and verified once a store."""

    def fetch(name: str):
        entry, weights = registry.resolve(name)
        assert weights is not None
        files = {
            role: default_store().fetch(files[0], name=f"{entry.name}:{weights.tag}")
            for role, files in weights.files.items()
        }
        return entry, weights, files

    return fetch


@pytest.fixture(scope="session")
def session():
    """Makes a Runner of an ONNX file."""
    return lambda path: Session(str(path))


@pytest.fixture(scope="session")
def photos() -> list[Image.Image]:
    """Landscape, portrait, square, thin, tiny, as large as the crop, and a photograph."""
    rng = np.random.default_rng(0)
    sizes = [
        (301, 517),
        (517, 301),
        (256, 256),
        (224, 224),
        (225, 223),
        (231, 232),
        (37, 53),
        (3, 500),
        (500, 3),
        (1, 1),
    ]
    noise = [Image.fromarray(rng.integers(0, 256, (h, w, 3), dtype=np.uint8)) for w, h in sizes]
    with Image.open(SAMPLES / "coffee.jpg") as photo:
        return [photo.convert("RGB"), photo.convert("RGB").crop((10, 0, 211, 320)), *noise]


@pytest.fixture(scope="session")
def tokenizer_json(tmp_path_factory) -> Path:
    """A WordPiece tokenizer of a dozen words in BERT's manner, saved with the truncation and padding of BERT's."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "cat", "dog", "sat", "on", "the", "mat", "##s"]
    tokenizer = Tokenizer(models.WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=9, pad_id=0, pad_token="[PAD]")
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return path
