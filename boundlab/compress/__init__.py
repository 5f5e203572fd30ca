"""One file per paper: who matters, and how many draws suffice."""
