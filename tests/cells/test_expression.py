import itertools

import numpy as np
import pytest

from lmu_hw.cells.expression import Expression

CASES = {
    "!A": lambda a, b, c: not a,
    "A'": lambda a, b, c: not a,
    "(A B)'": lambda a, b, c: not (a and b),
    "A*B+C": lambda a, b, c: (a and b) or c,
    "A+B*C": lambda a, b, c: a or (b and c),
    "A&!B|C": lambda a, b, c: (a and not b) or c,
    "A^B*C": lambda a, b, c: (a != b) and c,
    "!(A^B^C)": lambda a, b, c: not (a != b) != c,
    "((A)) * (B + C')": lambda a, b, c: a and (b or not c),
    "A !B C": lambda a, b, c: a and not b and c,
    "1": lambda a, b, c: True,
    "0 + A*!A": lambda a, b, c: False,
}


@pytest.mark.parametrize("text", CASES)
def test_truth_and_probability_of_every_state(text):
    expression = Expression(text)
    for state in itertools.product([0, 1], repeat=3):
        expected = bool(CASES[text](*map(bool, state)))
        duty = {name: np.array([float(value)]) for name, value in zip("ABC", state, strict=True)}
        assert expression.probability(duty) == expected
        row = sum(dict(zip("ABC", state, strict=True))[name] << index for index, name in enumerate(expression.pins))
        assert expression.truth >> row & 1 == expected


@pytest.mark.parametrize("text", CASES)
def test_probability_and_sensitivity_are_sums_over_states(text):
    rng = np.random.default_rng(0)
    duty = {name: rng.random(4) for name in "ABC"}
    function = CASES[text]
    expression = Expression(text)

    def chance(state, without=""):
        parts = [duty[n] if v else 1 - duty[n] for n, v in zip("ABC", state, strict=True) if n != without]
        return np.prod(parts, axis=0)

    states = list(itertools.product([False, True], repeat=3))
    expected = sum(chance(state) for state in states if function(*state))
    np.testing.assert_allclose(expression.probability(duty) * np.ones(4), expected * np.ones(4))
    for pin in expression.pins:
        index = "ABC".index(pin)
        expected = np.zeros(4)
        for state in states:
            low, high = list(state), list(state)
            low[index], high[index] = False, True
            if not state[index] and bool(function(*low)) != bool(function(*high)):
                expected = expected + chance(state, pin)
        np.testing.assert_allclose(expression.sensitivity(pin, duty) * np.ones(4), expected)


def test_bus_pins_and_supplies_are_names():
    assert Expression("((A_WEN | A_REN)& A_MEN)").pins == ("A_WEN", "A_REN", "A_MEN")
    assert Expression("D[3] * !_x.y").pins == ("D[3]", "_x.y")


@pytest.mark.parametrize("text", ["", "A+", "(A", "A)", "A # B", "*A", "!"])
def test_nonsense_is_refused(text):
    with pytest.raises(ValueError, match="Liberty expression"):
        _ = Expression(text).truth
