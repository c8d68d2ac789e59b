"""Floats to integers: model description, loaders, features, training, calibration and export."""
