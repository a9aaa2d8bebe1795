"""From Keras to ONNX, with every padded operator marked on its way."""
