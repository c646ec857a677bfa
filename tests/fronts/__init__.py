"""Other proxies in front, with the recipes of ``docs/fronts.md``; `make fronts` runs these tests."""
