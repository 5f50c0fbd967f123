"""One registry of pretrained vision and text models, any of them in any framework."""
from zoo.version import __version__ as __version__
