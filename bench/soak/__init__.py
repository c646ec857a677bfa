"""Soak: load of every kind for minutes or hours while faults come at random, and nothing wrong is ever answered."""
