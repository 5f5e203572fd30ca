"""Coresets for soft-margin support vector machines: the objective, its sensitivities, sizes and worst queries.

Arrays throughout: a labelled point (x, y) is the row z = y x, or y (x, 1) with an intercept; weights u are positive,
clusters are whole numbers, one per point. The objective is F(P, w) = |w|²/2 + lam sum_p u_p [1 - <z_p, w>]_+, where
the intercept is not in |w|. A coreset is a vector v of weights on the same points, 0 where a point is left out.
"""
