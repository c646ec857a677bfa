"""The files of a release, used without the repository; `make artefacts` builds them and runs these tests."""
