"""The figures: all that draws."""
