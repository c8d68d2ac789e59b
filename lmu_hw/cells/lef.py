"""LEF: outlines and pins of cells, sites of rows, and capacitance of wires.

Only what a placement needs is read. Antenna rules, design rules and vias are skipped.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from lmu_hw.cells.tokens import Tokens

__all__ = ["Lef", "LefMacro", "RoutingLayer", "Site", "read_lef"]

SKIPPED = ("PROPERTYDEFINITIONS", "SPACING", "NONDEFAULTRULE", "VIA", "VIARULE", "ARRAY", "NOISETABLE")
"""Blocks without anything about placement."""


@dataclass(frozen=True)
class Site:
    """A site of cell rows.

    Parameters
    ----------
    name : str
        Its name.
    width, height : float
        In micrometre.
    kind : str
        ``CORE`` or ``PAD``.
    """

    name: str
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class RoutingLayer:
    """A metal layer.

    Parameters
    ----------
    name : str
        Its name.
    width : float
        Usual width of a wire in micrometre.
    area_capacitance : float
        Farad per square micrometre to the substrate; 0 if the file gives none.
    edge_capacitance : float
        Farad per micrometre of one edge; 0 if the file gives none.
    """

    name: str
    width: float
    area_capacitance: float = 0.0
    edge_capacitance: float = 0.0

    @property
    def wire_capacitance(self) -> float:
        """Farad per micrometre of a wire of the usual width, to the substrate only: neighbours are left out."""
        return self.area_capacitance * self.width + 2 * self.edge_capacitance


@dataclass(frozen=True, eq=False)
class LefMacro:
    """Outline of a cell or memory macro.

    Parameters
    ----------
    name : str
        Name of the cell.
    kind : str
        ``CORE``, ``BLOCK`` ... with its qualifier, such as ``CORE TIEHIGH``.
    width, height : float
        In micrometre.
    site : str
        Site that it stands on; empty for blocks.
    pins : dict of str to (float, float)
        Centre of the box around each signal pin's shapes, from the lower left corner, in micrometre.
    """

    name: str
    kind: str
    width: float
    height: float
    site: str
    pins: dict[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Lef:
    """What was read from LEF files.

    Parameters
    ----------
    sites : dict of str to Site
        By name.
    layers : tuple of RoutingLayer
        Metal layers from the lowest up.
    macros : dict of str to LefMacro
        By name.
    files : tuple of Path
        The files.
    """

    sites: dict[str, Site] = field(default_factory=dict)
    layers: tuple[RoutingLayer, ...] = ()
    macros: dict[str, LefMacro] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


def read_lef(paths: Iterable[str | Path]) -> Lef:
    """Read LEF files.

    Parameters
    ----------
    paths : iterable of path
        Technology and cells, plain or compressed with gzip.

    Returns
    -------
    Lef
        Sites, layers and macros of all files; of one name, the last.

    Raises
    ------
    FileFormatError
        If a file cannot be read, with its line.
    """
    lef = Lef(files=tuple(Path(path) for path in paths))
    layers: dict[str, RoutingLayer] = {}
    for path in lef.files:
        _read_file(Tokens(path), lef, layers)
    return replace(lef, layers=tuple(layers.values()))


def _read_file(tokens: Tokens, lef: Lef, layers: dict[str, RoutingLayer]) -> None:
    farad = 1e-12
    for word in map(str.upper, tokens):  # IHP's file has blocks called Via
        if word == "END":
            if tokens.take() == "LIBRARY":
                return
        elif word == "UNITS":
            farad = _units(tokens)
        elif word == "SITE":
            site = _site(tokens, tokens.take())
            lef.sites[site.name] = site
        elif word == "LAYER":
            layer = _layer(tokens, tokens.take(), farad)
            if layer is not None:
                layers[layer.name] = layer
        elif word == "MACRO":
            macro = _macro(tokens, tokens.take())
            lef.macros[macro.name] = macro
        elif word in SKIPPED:
            named = word not in ("PROPERTYDEFINITIONS", "SPACING", "NOISETABLE")
            tokens.skip_to_end(tokens.take() if named else word)
        elif word == "BEGINEXT":
            while tokens.take() != "ENDEXT":
                pass
        elif word != ";":
            tokens.statement()


def _units(tokens: Tokens) -> float:
    """Farad in the file's unit of capacitance."""
    farad = 1e-12
    while tokens.peek() != "END":
        words = tokens.statement()
        if words[:2] == ["CAPACITANCE", "PICOFARADS"]:
            try:
                farad = 1e-12 / float(words[2])
            except (IndexError, ValueError, ZeroDivisionError):
                raise tokens.error(f"a unit of capacitance was expected, not {' '.join(words)}") from None
    tokens.take("END")
    tokens.take("UNITS")
    return farad


def _size(tokens: Tokens) -> tuple[float, float]:
    width = tokens.number("a width")
    tokens.take("BY")
    height = tokens.number("a height")
    if width <= 0 or height <= 0:
        raise tokens.error(f"a size must be above 0, not {width:g} by {height:g}")
    tokens.take(";")
    return width, height


def _site(tokens: Tokens, name: str) -> Site:
    size, kind = None, ""
    while (word := tokens.take()) != "END":
        if word == "SIZE":
            size = _size(tokens)
        elif word == "CLASS":
            kind = " ".join(tokens.statement())
        else:
            tokens.statement()
    tokens.take(name)
    if size is None:
        raise tokens.error(f"site {name} has no SIZE")
    return Site(name, *size, kind)


def _layer(tokens: Tokens, name: str, farad: float) -> RoutingLayer | None:
    """A routing layer, or None for a layer of another kind."""
    layer, kind = RoutingLayer(name, 0.0), ""
    while (word := tokens.take()) != "END":
        if word == "TYPE":
            kind = tokens.take()
        elif word == "WIDTH" and tokens.peek() != ";":
            layer = replace(layer, width=layer.width or tokens.number("a width"))
        elif word == "CAPACITANCE" and tokens.peek() == "CPERSQDIST":
            tokens.take()
            layer = replace(layer, area_capacitance=farad * tokens.number("CPERSQDIST"))
        elif word == "EDGECAPACITANCE":
            layer = replace(layer, edge_capacitance=farad * tokens.number("EDGECAPACITANCE"))
        tokens.statement()
    tokens.take(name)
    return layer if kind == "ROUTING" else None


def _macro(tokens: Tokens, name: str) -> LefMacro:
    size, origin = None, (0.0, 0.0)
    kind = site = ""
    pins: dict[str, tuple[float, float]] = {}
    while (word := tokens.take()) != "END":
        if word == "SIZE":
            size = _size(tokens)
        elif word == "CLASS":
            kind = " ".join(tokens.statement())
        elif word == "SITE":
            site = tokens.take()
            tokens.statement()
        elif word == "ORIGIN":
            origin = tokens.number("an origin"), tokens.number("an origin")
            tokens.take(";")
        elif word == "PIN":
            pin, centre = _pin(tokens, tokens.take())
            if centre is not None:
                pins[pin] = centre
        elif word in ("OBS", "DENSITY"):
            tokens.skip_to_end("")
        else:
            tokens.statement()
    tokens.take(name)
    if size is None:
        raise tokens.error(f"macro {name} has no SIZE")
    pins = {pin: (x + origin[0], y + origin[1]) for pin, (x, y) in pins.items()}
    return LefMacro(name, kind, *size, site, pins)


def _pin(tokens: Tokens, name: str) -> tuple[str, tuple[float, float] | None]:
    """Name of a pin, and the centre of its shapes; None for a supply or a pin without rectangles."""
    xs: list[float] = []
    ys: list[float] = []
    supply = False
    while (word := tokens.take()) != "END":
        if word == "PORT":
            _port(tokens, xs, ys)
        else:
            words = tokens.statement()
            supply = supply or (word == "USE" and words[:1] in (["POWER"], ["GROUND"]))
    tokens.take(name)
    if supply or not xs:
        return name, None
    return name, ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2)


def _port(tokens: Tokens, xs: list[float], ys: list[float]) -> None:
    """Add the corners of the rectangles and polygons of a port."""
    while (word := tokens.take()) != "END":
        words = tokens.statement()
        if word in ("RECT", "POLYGON"):
            if words[:1] == ["MASK"]:
                words = words[2:]
            try:
                values = [float(text) for text in words]
            except ValueError:
                raise tokens.error(f"{word} must have numbers, not {' '.join(words)}") from None
            if len(values) < 4 or len(values) % 2:
                raise tokens.error(f"{word} must have pairs of numbers, not {' '.join(words)}")
            xs += values[::2]
            ys += values[1::2]
