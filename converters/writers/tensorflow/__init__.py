"""ONNX graph to a tf.Module: tf.* where TensorFlow has more than Keras, and the keras.ops of the Keras writer besides.

lowers   operators/: an operator as TensorFlow's code, eager and inside a tf.function; its parent is Keras' `ops`
"""

import os

from zoo.converters.writers.driver import Lowerings
from zoo.converters.writers.keras import ops

os.environ.setdefault("KERAS_BACKEND", "tensorflow")  # keras.ops compute in TensorFlow; one backend to a process
lowers = Lowerings("tensorflow", parent=ops)
KERNELS = "zoo.tensorflow"  # the domain of operators in channels-last form whose kernel is in TensorFlow's layout
