"""Reading and writing model files: definitions as data, losslessly."""
