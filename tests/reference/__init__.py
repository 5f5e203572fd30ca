"""Numbers that other implementations computed, and how they were made."""
