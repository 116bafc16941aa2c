"""What must hold of data and predictions: bias and leakage, found before they reach a model."""
