"""ONNX Runtime, a framework like the others."""
