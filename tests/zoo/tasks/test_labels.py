from __future__ import annotations

import pytest

from zoo.errors import BadInput
from zoo.tasks.labels import fitting, load, names


@pytest.mark.parametrize(
    ("name", "count"), [("imagenet-1k", 1000), ("sst-2", 2), ("fer-2013", 7), ("text-direction", 2)]
)
def test_every_class_of_a_data_set_has_a_name_of_its_own(name, count):
    assert count == len(set(load(name))) == len(load(name))
    assert all(label == label.strip() != "" for label in load(name))


def test_every_file_can_be_read():
    assert all(load(name) for name in names())


def test_the_names_stand_in_the_publishers_order():
    labels = load("imagenet-1k")
    assert ("tench", "goldfish", "Egyptian cat", "espresso", "toilet tissue") == tuple(
        labels[i] for i in (0, 1, 285, 967, 999)
    )
    assert ("angry", "neutral") == (load("fer-2013")[0], load("fer-2013")[-1])
    assert ("NEGATIVE", "POSITIVE") == load("sst-2")


def test_the_names_are_torchvisions():
    meta = pytest.importorskip("torchvision.models._meta")
    assert list(load("imagenet-1k")) == meta._IMAGENET_CATEGORIES


def test_labels_that_do_not_fit_are_refused():
    assert ["class 0", "class 1"] == fitting(None, 2)
    with pytest.raises(BadInput, match="2 labels don't fit a model with 3 outputs"):
        fitting(load("sst-2"), 3)
    with pytest.raises(BadInput, match="no labels are known for the data set 'sst2'  Did you mean 'sst-2'"):
        load("sst2")
    with pytest.raises(BadInput):
        load("../labels/sst-2")
