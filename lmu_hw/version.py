"""Version of the distribution ``lmu-hw``: of all its packages, and in the files that they write."""

__all__ = ["VERSION"]

VERSION = "0.2.0"
