"""Prefix codes for sparse, quantised nets: the code length, in bits, that an Occam bound pays."""
