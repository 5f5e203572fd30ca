"""The only code that looks inside a torch module, and what is computed along a network."""
