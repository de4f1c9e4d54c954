"""Random numbers in tests: bands with a stated chance of failing, numbers known in advance, the global streams."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

FALSE_FAIL = 1e-9
"""Chance that a test of frequencies fails although all is right."""


def frequency_band(draws: int, probability: float, count: int = 1) -> float:
    r"""Return how far a count may be from its mean, but for a chance of ``FALSE_FAIL`` over ``count`` such counts.

    Bernstein: a binomial :math:`X` with variance :math:`V = n p (1 - p)` has
    :math:`P(|X - n p| \ge t) \le 2 \exp(-t^2 / (2 V + 2 t / 3))`. The right side is ``FALSE_FAIL / count`` at
    :math:`t = L / 3 + \sqrt{L^2 / 9 + 2 V L}` with ``L = ln(2 count / FALSE_FAIL)``.

    Args:
        draws: n, at least 1.
        probability: p, in ``[0, 1]``.
        count: how many counts are looked at.

    Example:
        >>> round(frequency_band(20_000, 0.25, count=4))
        421
    """
    level = math.log(2 * count / FALSE_FAIL)
    variance = draws * probability * (1 - probability)
    return level / 3 + math.sqrt(level**2 / 9 + 2 * variance * level)


class OneNumber:
    """Stands in for a numpy generator whose next uniform number is known."""

    def __init__(self, number: float) -> None:
        self._number: float | None = number

    def random(self) -> float:
        """Return the number, once."""
        number, self._number = self._number, None
        assert number is not None, "a draw must take one number from the generator, rng.random(), and it took two"
        return number

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"a draw must take one number from the generator, rng.random(), and asked for rng.{name}")


def global_numbers() -> tuple[Any, ...]:
    """Return the state of the global random streams of Python and numpy, for comparisons."""
    state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - the global stream is the point
    return random.getstate(), state["state"]["key"].tobytes(), state["state"]["pos"], state["has_gauss"]


@contextmanager
def other_global_numbers(seed: int) -> Iterator[None]:
    """Seed the global random streams of Python and numpy for a while, and put them back afterwards."""
    python, own = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(own)  # noqa: NPY002
