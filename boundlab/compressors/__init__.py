"""One file per paper: who matters, and how many draws suffice."""

from boundlab.compressors.corenet import METHODS

__all__ = ["METHODS"]
