"""A module of Sonnet's as a Runner: it is one of TensorFlow's."""

from zoo.converters.writers.tensorflow.runner import from_numpy as from_numpy
from zoo.converters.writers.tensorflow.runner import runner as runner
from zoo.converters.writers.tensorflow.runner import to_numpy as to_numpy
