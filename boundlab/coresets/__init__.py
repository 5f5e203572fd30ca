"""The mathematics of sampling: arrays in, arrays out."""
