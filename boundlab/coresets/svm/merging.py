"""Merge and reduce: what a coreset of a stream costs, level by level and node by node.

The union of eps-coresets of disjoint sets is an eps-coreset of their union; an eps'-coreset of an eps-coreset is one
with error (1 + eps)(1 + eps') - 1. Errors therefore multiply along a path of the tree, and failures add over nodes.
"""

from __future__ import annotations

import math

from boundlab._errors import positive, positive_int, probability
from boundlab._theory import implements

UP = 1.0 + 1e-12


@implements("boundlab_merge_reduce")
def merged_eps(eps: float, levels: int) -> float:
    """Return (1 + eps)^levels - 1, rounded up: the error after `levels` reductions of error eps each.

    Parameters
    ----------
    eps : positive and finite
    levels : at least 1, reductions on the longest path from a leaf to the root

    Raises
    ------
    InvalidParameter
        If a parameter is out of range.

    Examples
    --------
    >>> round(merged_eps(0.1, 2), 9)
    0.21
    """
    return math.expm1(positive_int("levels", levels) * math.log1p(positive("eps", eps))) * UP


@implements("boundlab_merge_reduce")
def level_eps(eps: float, levels: int) -> float:
    """Return (1 + eps)^(1/levels) - 1, rounded down: the error that each reduction may make.

    Parameters
    ----------
    eps : positive and finite, the error promised at the root
    levels : at least 1

    Examples
    --------
    >>> round(level_eps(0.21, 2), 9)
    0.1
    """
    return math.expm1(math.log1p(positive("eps", eps)) / positive_int("levels", levels)) / UP


@implements("boundlab_merge_reduce")
def node_delta(delta: float, nodes: int) -> float:
    """Return delta/nodes, rounded down: the failure probability of each reduction, given all before it.

    Parameters
    ----------
    delta : in (0, 1), at the root
    nodes : at least 1, how many reductions the tree makes

    Examples
    --------
    >>> round(node_delta(0.07, 7), 9)
    0.01
    """
    return probability("delta", delta) / positive_int("nodes", nodes) / UP


@implements("boundlab_merge_reduce")
def tree_shape(leaves: int, *, reduce_leaves: bool = True) -> tuple[int, int]:
    """Return (levels, nodes): reductions on the longest path, and in all, when neighbours are merged pair by pair.

    Each merge is followed by a reduction; with `reduce_leaves` each leaf is reduced before. A set left over at a
    level moves up as it is.

    Parameters
    ----------
    leaves : at least 1
    reduce_leaves : whether the leaves are coresets already

    Examples
    --------
    >>> tree_shape(4), tree_shape(5, reduce_leaves=False)
    ((3, 7), (3, 4))
    """
    merges = positive_int("leaves", leaves) - 1
    return merges.bit_length() + reduce_leaves, merges + leaves * reduce_leaves
