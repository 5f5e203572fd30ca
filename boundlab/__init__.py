"""boundlab: provable compression of neural networks, told honestly."""
