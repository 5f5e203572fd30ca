"""One file per generalization bound: evidence in, an upper bound on the risk out."""
