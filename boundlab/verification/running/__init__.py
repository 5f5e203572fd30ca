"""Who computes what: streams of coins, blocks of trials, engines and executors, and the course of a run."""
