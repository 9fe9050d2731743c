"""Optima known to more digits than doubles have, or published, of small data sets that are written down here.

The Scottish vote of 1997 (32 districts; the share of yes and seven columns, of which the last is a product; condition
number 4e4) was solved by Newton's method with 50 decimal digits. The counts of a clinical trial (A. J. Dobson, *An
Introduction to Generalized Linear Models*, 1990) are the example of R's ``glm``, with the figures that R prints.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")
from futures_cluster import glm
from futures_cluster.glm.families import gamma, poisson

#: Share of yes, council tax, unemployed women, mortality, active, domestic product, age 5 to 15.
SCOTLAND = """
60.3 712 21 105 82.4 13566 12.3
52.3 643 26.5 97 80.2 13566 15.3
53.4 679 28.3 113 86.3 9611 13.9
57 801 27.1 109 80.4 9483 13.6
68.7 753 22 115 64.7 9265 14.6
48.8 714 24.3 107 79 9555 13.8
65.5 920 21.2 118 72.2 9611 13.3
70.5 779 20.5 114 75.2 9483 14.5
59.1 771 23.2 102 81.1 9483 14.2
62.7 724 20.5 112 80.3 12656 13.7
51.6 682 23.8 96 83 9483 14.6
62 837 22.1 111 74.5 12656 11.6
68.4 599 19.9 117 83.8 8298 15.1
69.2 680 21.5 121 77.6 9265 13.7
64.7 747 22.5 109 77.9 8314 14.4
75 982 19.4 137 65.3 9483 13.3
62.1 719 25.9 109 80.9 8298 14.9
67.2 831 18.5 138 80.2 9483 14.6
67.7 858 19.4 119 84.8 12656 14.3
52.7 652 27.2 108 86.4 13566 14.6
65.7 718 23.7 115 73.5 9483 15
72.2 787 20.8 126 74.7 9483 14.9
47.4 515 26.8 106 87.8 8298 15.3
51.3 732 23 103 86.6 9611 13.8
63.6 783 20.5 125 78.5 9483 14.1
50.7 612 23.7 100 80.6 9033 13.3
51.6 486 23.2 117 84.8 8298 15.9
56.2 765 23.6 105 79.2 9483 13.7
67.6 793 21.7 125 78.4 9483 14.5
58.9 776 23 110 77.2 9265 13.6
74.7 978 19.3 130 71.5 9483 15.3
67.3 792 21.2 126 82.2 12656 15.1
"""
#: By the power of the variance: coefficients, intercept, deviance.
OPTIMA = {
    1: (
        [
            -2.474178243569297e-3,
            -1.045549797068928e-1,
            4.529541634984494e-3,
            -6.858679257717252e-3,
            8.236811564355649e-6,
            3.097399218802132e-2,
            1.223852475138443e-4,
        ],
        5.779322875275673,
        5.184605878713697667,
    ),
    2: (
        [
            -2.377040610337430e-3,
            -1.004772966173827e-1,
            4.812955883804067e-3,
            -6.660014122743944e-3,
            8.173314495632015e-6,
            2.975555134082009e-2,
            1.179869132351415e-4,
        ],
        5.658127196206975,
        0.087987818361105843,
    ),
}


@pytest.mark.parametrize("solver", ["auto", "newton", "lbfgs"])
@pytest.mark.parametrize("power", [1, 2])
def test_scotland(power: int, solver: str) -> None:
    table = np.array([line.split() for line in SCOTLAND.strip().split("\n")], dtype=float)
    y, X = table[:, 0], np.column_stack([table[:, 1:], np.round(table[:, 1] * table[:, 2], 1)])
    coef, intercept, deviance = OPTIMA[power]
    model = glm.TweedieRegressor(power=power, alpha=0, link="log", solver=solver).fit(X, y)
    family = poisson() if power == 1 else gamma()
    found = float(family.deviance(y, model.predict(X)).sum())
    assert abs(found - deviance) <= 1e-9 * deviance
    # The objective is flat at its minimum, so coefficients have half as many digits.
    np.testing.assert_allclose(model.coef_, coef, rtol=1e-4)
    np.testing.assert_allclose(model.intercept_, intercept, rtol=1e-4)


def test_dobsons_trial() -> None:
    counts = np.array([18, 17, 15, 20, 10, 20, 25, 13, 12])
    outcome, treatment = np.tile(np.arange(3), 3), np.repeat(np.arange(3), 3)
    X = np.column_stack([outcome == 1, outcome == 2, treatment == 1, treatment == 2]).astype(float)
    model = glm.PoissonRegressor(alpha=0).fit(X, counts)
    summary = model.summary()
    np.testing.assert_allclose(summary.coef, [3.045, -0.4543, -0.2930, 0, 0], atol=5e-4)
    np.testing.assert_allclose(summary.std_err, [0.1709, 0.2022, 0.1927, 0.2000, 0.2000], atol=5e-5)
    assert summary.deviance == pytest.approx(5.1291, abs=5e-5)
    assert summary.aic == pytest.approx(56.76, abs=5e-3)
    # Without interaction the fit is the product of the table's margins.
    table = counts.reshape(3, 3)
    margins = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    np.testing.assert_allclose(model.predict(X), margins.ravel(), rtol=1e-6)
