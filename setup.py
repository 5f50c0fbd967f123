"""The one step that pyproject.toml has no word for: the index of the registry is compiled into what is built."""

import sys
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


class BuildWithIndex(build_py):
    """build_py, and zoo/registry.sqlite beside the catalog that it was made from."""

    def run(self) -> None:
        """Build; an editable install has no copy to put an index into, and makes its own when it is first asked."""
        super().run()
        if self.editable_mode:
            return
        sys.path.insert(0, str(HERE))  # a build backend runs without the project on its path
        from zoo.index import compile_index

        built = Path(self.build_lib, "zoo")
        compile_index(built / "registry.yaml", built / "registry.sqlite")


setup(cmdclass={"build_py": BuildWithIndex})
