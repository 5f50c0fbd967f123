"""What exporters took apart, put together again: formulas over ONNX operators, and one file of them a family."""
