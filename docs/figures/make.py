"""Draw the README's figure: audit LeNet-300-100 on MNIST and plot its sample sizes.

BOUNDLAB_DATA=... python docs/figures/make.py NET.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl

import boundlab as bl


def main(source: str) -> None:
    """Audit the net and write sample_sizes.svg beside this file."""
    data = bl.load_data("mnist")
    if data.x_train is None or data.y_train is None or data.x_test is None or data.y_test is None:
        raise bl.InvalidParameter("the figure needs a train and a test part, got only one of them.")
    audit = bl.audit(
        bl.load_network(source), train=(data.x_train, data.y_train), holdout=(data.x_test, data.y_test), rng=0
    )
    with mpl.rc_context({"svg.hashsalt": "boundlab", "svg.fonttype": "path", "font.size": 9}):
        figure = audit.plot().get_figure(root=True)
        if figure is not None:
            figure.savefig(Path(__file__).with_name("sample_sizes.svg"), metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main(sys.argv[1])
