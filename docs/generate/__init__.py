"""Generators of the documents that follow from the code: ``make docs`` writes them, a test compares them."""
