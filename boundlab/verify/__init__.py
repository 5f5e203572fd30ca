"""Try to refute a promise: claims, evidence, verdicts."""
