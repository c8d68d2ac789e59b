"""Training of LMU keyword spotters with PyTorch, the only place where it is imported."""
