"""ONNX graph to a native torch.nn.Module."""
