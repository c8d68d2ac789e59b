"""Names of what the energy, leakage and area of an accelerator grow with."""

from enum import StrEnum

__all__ = ["Feature", "FeatureCounts"]


class Feature(StrEnum):
    """A count of an accelerator that has a price in a technology's table; the value is its name in the JSON file."""

    CHANGED_WORD_BITS = "changed word bits"
    """Bits of a weight word that differ from the word read before."""
    MOVES_BY_LOGIC = "moves by logic"
    """Rows of a constant memory that are read, times its logic."""
    MOVES_BY_WORDS = "moves by words"
    """Rows of a constant memory that are read, times its words."""
    SEARCHED_BITS = "bits read out of turn"
    """Bits of weights whose element was searched for."""
    ROW_BITS = "bits selected from a row"
    """Bits selected from a row of words; as a size, the width of such memories."""
    BANK_BITS = "bits selected from a bank"
    """Bits selected from banks of weights. Only tables of accelerators with banks have it."""
    REGISTER_BANK_BITS = "bits selected from a bank of registers"
    """Bits selected from banks of registers. Only tables with states in registers have it."""
    CHANGED_PRODUCT_BITS = "changed product bits"
    CHANGED_SUM_BITS = "changed sum bits"
    CHANGED_OPERAND_BITS_BY_WEIGHT_BITS = "changed operand bits by weight bits"
    PRODUCTS_BY_SUM_BITS = "products by sum bits"
    PRODUCTS_BY_WEIGHT_BITS = "products by weight bits"
    PRODUCTS_BY_FLIP_FLOP_WORDS = "products by flip-flop words"
    FLIP_FLOP_READS = "flip-flop reads"
    FLIP_FLOP_WRITES = "flip-flop writes"
    FLIP_FLOP_BITS = "flip-flop bits"
    READ_BITS = "read bits"
    CYCLES = "cycles"
    CYCLES_BY_GATED_WORDS = "cycles by gated words"
    GATED_WORDS = "gated words"
    ELEMENTS = "elements"
    ELEMENTS_BY_PARAMETER_LOGIC = "elements by parameter logic"
    PARAMETER_LOGIC = "parameter logic"
    SEARCHES_BY_MAP_BITS = "searches by map bits"
    MAP_BITS = "map bits"
    INPUTS = "inputs"
    LOGIC = "logic"
    WORD_BITS = "word bits"
    WEIGHT_BY_OPERAND_BITS = "weight by operand bits"
    SUM_BITS = "sum bits"
    WEIGHT_BITS = "weight bits"
    TERMS = "terms"
    CONSTANT = "one"
    """One for each accelerator."""
    MACROS = "macros"
    """Energy, leakage or area of memory macros, taken from their Liberty files."""


FeatureCounts = dict[str, dict[Feature, float]]
"""Counts, or what one of each costs, by row and feature."""
