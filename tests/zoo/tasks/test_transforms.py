from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from zoo.errors import BadInput
from zoo.tasks.transforms import bilinear, image_spec, transform

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
HALF = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear"}


# ---- as the publishers do it ---------------------------------------------------------------------------------------


def test_equal_to_torchvision_bit_for_bit_for_every_classifier_that_it_has(photos):
    torchvision = pytest.importorskip("torchvision")
    seen = {}
    for name in torchvision.models.list_models(module=torchvision.models):
        for weights in torchvision.models.get_model_weights(name):
            seen.setdefault(repr(weights.transforms()), weights)
    assert len(seen) > 20
    for weights in seen.values():
        theirs = weights.transforms()
        spec = image_spec(
            {
                "size": theirs.crop_size * 2,
                "resize": theirs.resize_size[0],
                "interpolation": theirs.interpolation.value,
                "mean": theirs.mean,
                "std": theirs.std,
            }
        )
        for photo in photos[:5]:
            np.testing.assert_array_equal(theirs(photo).numpy(), transform(photo, spec), err_msg=f"{weights} {photo}")


def test_equal_to_torchvision_where_both_sides_are_stated(photos):
    transforms = pytest.importorskip("torchvision.transforms")
    spec = image_spec({"size": [96, 80], "resize": [100, 111], "interpolation": "bicubic", **IMAGENET})
    steps = [transforms.Resize((100, 111), transforms.InterpolationMode.BICUBIC), transforms.CenterCrop((96, 80))]
    steps += [transforms.ToTensor(), transforms.Normalize(IMAGENET["mean"], IMAGENET["std"])]
    for photo in photos:
        np.testing.assert_array_equal(transforms.Compose(steps)(photo).numpy(), transform(photo, spec))


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize(
    ("size", "crop", "interpolation"),
    [
        ((224, 224), 0.875, "bicubic"),
        ((224, 224), 0.95, "bilinear"),
        ((224, 224), 1.0, "bicubic"),
        ((260, 260), 0.89, "bicubic"),
        ((192, 256), 0.9, "bicubic"),
        ((33, 97), 0.7, "bilinear"),
    ],
)
def test_equal_to_timm_bit_for_bit(photos, mode, size, crop, interpolation):
    create_transform = pytest.importorskip("timm.data").create_transform
    facts = {"interpolation": interpolation, **IMAGENET}
    theirs = create_transform((3, *size), is_training=False, crop_pct=crop, crop_mode=mode, **facts)
    spec = image_spec({"size": list(size), "crop": crop, "mode": mode, **facts})
    for photo in photos:
        if mode == "border" and max(photo.size) > 100 * min(photo.size):
            continue  # timm asks Pillow for a side of 0 pixels
        np.testing.assert_array_equal(theirs(photo).numpy(), transform(photo, spec), err_msg=f"{photo.size}")


def test_without_antialias_it_is_opencvs_bilinear_to_a_rounding():
    torch = pytest.importorskip("torch")
    pixels = np.random.default_rng(0).integers(0, 256, (31, 50, 3), dtype=np.uint8)
    for height, width in [(7, 11), (31, 50), (64, 20), (3, 200), (1, 1)]:
        tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
        exact = torch.nn.functional.interpolate(tensor, (height, width), mode="bilinear", align_corners=False)
        expected = exact[0].permute(1, 2, 0).numpy()
        assert np.abs(expected - bilinear(pixels, height, width)).max() <= 0.5 + 1e-3
        assert np.abs(expected[..., 0] - bilinear(pixels[..., 0], height, width)).max() <= 0.5 + 1e-3


# ---- what the fields mean ------------------------------------------------------------------------------------------


def test_layout_channels_and_scale_are_data():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    photo = Image.fromarray(pixels)
    plain = {"size": [4, 4], "interpolation": "bilinear", "mean": [1, 2, 3], "std": [1, 2, 4], "scale": 1}
    expected = (pixels.astype(np.float32) - [1, 2, 3]) / np.float32([1, 2, 4])
    np.testing.assert_array_equal(expected, transform(photo, image_spec({**plain, "layout": "NHWC"})))
    np.testing.assert_array_equal(expected.transpose(2, 0, 1), transform(photo, image_spec(plain)))
    bgr = (pixels[..., ::-1].astype(np.float32) - [1, 2, 3]) / np.float32([1, 2, 4])
    np.testing.assert_array_equal(bgr.transpose(2, 0, 1), transform(photo, image_spec({**plain, "channels": "bgr"})))
    grey = image_spec({**plain, "mean": [0.5], "std": [0.5], "scale": 1 / 255, "channels": "grey", "layout": "NHWC"})
    levels = transform(Image.fromarray(pixels[..., 0]), grey)
    assert ((4, 4, 1), np.float32) == (levels.shape, levels.dtype)
    np.testing.assert_allclose(pixels[..., 0] / 127.5 - 1, levels[..., 0], atol=1e-6)


@pytest.mark.parametrize(
    ("of", "to"),
    [((600, 800), (736, 992)), ((1000, 1000), (992, 992)), ((30, 240), (736, 5888)), ((1, 2), (736, 1472))],
)
def test_mode_free_enlarges_to_the_shortest_side_and_rounds(of, to):
    spec = image_spec({"mode": "free", "min_side": 736, "multiple": 32, **HALF})
    assert (3, *to) == transform(Image.new("RGB", of[::-1]), spec).shape


@pytest.mark.parametrize(
    ("size", "of", "width"),
    [([48, 192], (24, 50), 100), ([48, 192], (24, 500), 192), ([48, None], (24, 500), 1000), ([48, 192], (500, 1), 1)],
)
def test_mode_line_keeps_the_ratio_up_to_a_width(size, of, width):
    spec = image_spec({"mode": "line", "size": size, "antialias": False, **HALF})
    assert (3, 48, width) == transform(Image.new("RGB", of[::-1]), spec).shape


# ---- mistakes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": None}, "input.image.size is missing"),
        ({"mean": None}, "input.image.mean is missing"),
        ({"interpolation": None}, "input.image.interpolation is missing"),
        ({"size": 224}, r"input.image.size: expected a list of 2, got 224"),
        ({"size": [224]}, "expected a list of 2"),
        ({"size": [224, 0]}, r"size\[1\]: expected a whole number of at least 1, got 0"),
        ({"size": [224, None]}, r"size\[1\]: expected a whole number"),
        ({"size": [224, True]}, "got True"),
        ({"resize": 2.5}, "input.image.resize: expected a whole number"),
        ({"crop": 0}, "crop: expected a number from 0.01 to 2"),
        ({"crop": float("nan")}, "crop: expected a number"),
        ({"mode": "centre"}, r"mode: expected center \| squash \| border \| free \| line, got 'centre'"),
        ({"mean": [0.5]}, "mean: expected a list of 3"),
        ({"std": [0.5, 0, 0.5]}, "std: a channel is divided by 0"),
        ({"interpolation": "cubic"}, "got 'cubic'"),
        ({"antialias": False, "interpolation": "bicubic"}, "known for bilinear only"),
        ({"resize": 256, "crop": 0.95}, r"resize \[256, 256\] and crop 0.95 disagree: size / crop is \[235, 235\]"),
        ({"resize": 256, "mode": "squash"}, "resize: goes with mode center"),
        ({"multiple": 32}, "multiple: goes with mode free"),
        ({"channels": "grey"}, "mean: expected a list of 1"),
        ({"croppct": 0.9}, "has no field 'croppct'  Did you mean 'crop'"),
    ],
)
def test_a_mistake_in_an_entry_is_named_with_its_field(change, words):
    given = {"size": [224, 224], **HALF, **change}
    with pytest.raises(BadInput, match=words):
        image_spec({name: value for name, value in given.items() if value is not None or name == "size"})


def test_a_picture_so_thin_that_it_would_fill_the_memory_is_refused():
    spec = image_spec({"size": [224, 224], "resize": 256, **HALF})
    with pytest.raises(BadInput, match="would be resized to 25600000 x 256"):
        transform(Image.new("RGB", (100_000, 1)), spec)
