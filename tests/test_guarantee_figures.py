"""The figures of verdicts: what they show is what was decided."""

from __future__ import annotations

import numpy as np
import pytest

from boundlab import Claim, InvalidParameter, Method, verify
from boundlab.report.guarantee_figures import plot_verdicts

CLAIM = Claim(name="fails with probability at most 0.05", delta=0.05)


def coin(rate: float):
    return lambda rng, n: rng.random(n) < rate


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("rate", [0.0, 0.05, 0.3])
def test_the_path_ends_on_the_border_that_decided(method: Method, rate: float) -> None:
    verdict = verify(CLAIM, coin(rate), method=method, max_trials=400)
    lines = {line.get_label(): np.array(line.get_data()) for line in verdict.plot_plane().get_lines()}
    n, k = lines["this run"][:, -1]
    assert (n, k) == (verdict.trials, verdict.failures)
    low, high = (dict(zip(*lines[name], strict=True)) for name in ("upheld below", "violated above"))
    assert (k <= low[n]) == (str(verdict.state) == "upheld")
    assert (k >= high[n]) == (str(verdict.state) == "violated")


def test_both_figures_of_a_verdict_draw_on_the_axes_they_are_given() -> None:
    from matplotlib.figure import Figure

    verdict = verify(CLAIM, coin(0.02), max_trials=100)
    for draw in (verdict.plot, verdict.plot_plane):
        ax = Figure().add_subplot()
        assert draw(ax) is ax


def test_a_claim_about_shares_has_no_plane() -> None:
    claim = Claim(name="a share", delta=0.2, over="coins, mean over a set")
    verdict = verify(claim, lambda rng, n: rng.random(n) * 0.1, max_trials=50)
    verdict.plot()
    with pytest.raises(InvalidParameter, match="outcomes that are 0 or 1"):
        verdict.plot_plane()


def test_a_table_of_verdicts_has_a_cell_for_each() -> None:
    found = [[verify(CLAIM, coin(rate), seed=s, max_trials=200) for rate in (0.0, 0.05, 0.3)] for s in (0, 1)]
    ax = plot_verdicts(found, ["seed 0", "seed 1"], [0.0, 0.05, 0.3], names=("seed", "rate"))
    assert [t.get_text() for t in ax.texts] == [f"{v.failures}/{v.trials}" for line in found for v in line]
    hatched = [p for p in ax.patches if p.get_hatch()]
    assert len(hatched) == sum(str(v.state) == "undecided" for line in found for v in line) > 0
    with pytest.raises(InvalidParameter, match="a table of verdicts must have shape"):
        plot_verdicts(found, ["seed 0"], [0.0, 0.05, 0.3])
