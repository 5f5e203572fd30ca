"""From outcomes to a verdict: the rules, the evidence they read, and the exact law of each."""
