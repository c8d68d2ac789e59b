"""The serial link of the boards."""
