"""Applications of five frameworks that use the npm package, built for real; `make frameworks` runs these tests."""
