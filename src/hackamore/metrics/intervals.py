"""How sure a figure over many pictures is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DRAWS = 1000


def bootstrap(
    statistics: Floats, figure: Callable[[Floats], float], share: float = 0.95, seed: int = 0, draws: int = DRAWS
) -> tuple[float, float]:
    """The (low, high) ends of the percentile bootstrap interval of a figure (Efron 1979), seeded.

    ``statistics`` N×K holds what each of N pictures gives, and the figure is a function of their mean over pictures:
    the mean itself, the mIoU of a summed confusion table, a ratio of sums. Pictures are drawn with replacement; draws
    for which the figure is not defined are left out. Both ends are NaN where none is.
    """
    count = len(statistics)
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    figures = np.array([figure(mean) for mean in drawn @ statistics / count])
    figures = figures[np.isfinite(figures)]
    if not len(figures):
        return float("nan"), float("nan")
    low, high = np.quantile(figures, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
