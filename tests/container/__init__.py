"""The container image, built from the Dockerfile and run; `make container` runs these tests."""
