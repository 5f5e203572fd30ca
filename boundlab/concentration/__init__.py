"""Scalar inequalities and their inverses: floats in, floats out, rounded to the safe side."""
