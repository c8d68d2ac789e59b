"""The error of everything that a caller gave and that cannot be used."""

__all__ = ["InputError"]


class InputError(ValueError):
    """A model, a file, an option or a combination of them cannot be used; one line that says why."""
