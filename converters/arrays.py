"""Named values of a run in an .npz, those too that numpy can't save without pickling or loads as something else.

`numpy.load(path)[name]` is the array of every plain value. Sequences, strings, absent optionals and the dtypes that
numpy lacks (bfloat16, float8, int4) come back by `load`, which reads how they were from the member FORMS.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

FORMS = "forms.json"  # of each value: its dtype, null for nothing, a list for a sequence


def save(path: Path, values: Mapping[str, Any]) -> None:
    """Write values: arrays, lists of them, None."""
    with zipfile.ZipFile(path, "w", allowZip64=True) as file:
        forms = {name: _write(file, name, value) for name, value in values.items()}
        file.writestr(FORMS, json.dumps(forms))


def load(path: Path) -> dict[str, Any]:
    """The values that `save` wrote."""
    with zipfile.ZipFile(path) as file:
        return {name: _read(file, name, form) for name, form in json.loads(file.read(FORMS)).items()}


def _write(file: zipfile.ZipFile, name: str, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, (list, tuple)):
        return [_write(file, f"{name}[{i}]", item) for i, item in enumerate(value)]
    array = np.asarray(value)
    dtype = "str" if array.dtype.kind in "OSU" else array.dtype.name
    if dtype == "str":
        array = array.astype(np.str_)
    elif array.dtype.isbuiltin != 1:
        array = array.view(f"u{array.dtype.itemsize}")
    with file.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)  # type: ignore[no-untyped-call]  # numpy's stubs
    return dtype


def _read(file: zipfile.ZipFile, name: str, form: Any) -> Any:
    if form is None:
        return None
    if isinstance(form, list):
        return [_read(file, f"{name}[{i}]", item) for i, item in enumerate(form)]
    with file.open(f"{name}.npy") as member:
        array = np.lib.format.read_array(member, allow_pickle=False)  # type: ignore[no-untyped-call]
    if form == "str":
        return array.astype(object)
    return array if array.dtype.name == form else array.view(getattr(ml_dtypes, form))
