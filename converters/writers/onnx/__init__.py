"""ONNX Runtime, a framework like the others."""

import os

# From its import on, ONNX Runtime keeps a device id in the user's cache folder and reports to its maker,
# unless told not to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
