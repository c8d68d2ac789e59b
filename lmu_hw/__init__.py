"""From a trained Legendre Memory Unit keyword spotter to silicon: ``import lmu_hw as lh`` and everything is here.

The functions live in `lmu_kit`, which stands above this package; they are handed on when they are first used.
"""

from typing import TYPE_CHECKING, Any

from lmu_hw.version import VERSION as __version__  # noqa: F401

if TYPE_CHECKING:
    from lmu_kit import *  # noqa: F403  # what type checkers and editors see


def __getattr__(name: str) -> Any:
    import lmu_kit

    if name.startswith("_") or name not in lmu_kit.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(lmu_kit, name)


def __dir__() -> list[str]:
    import lmu_kit

    return sorted({*globals(), *lmu_kit.__all__})
