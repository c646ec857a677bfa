"""Coverage-guided fuzzing with atheris, by ``make fuzz``: ``python -m tests.hostile.fuzz TARGET [options]``.

It starts from the corpus in the repository and keeps new inputs in ``.fuzz/TARGET``. It writes an input that violates
an assertion to a file ``crash-…``: fix the defect and add the input to the corpus.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["gateway", "jwt", "multidict", "email"]):
    from tests.hostile.targets import TARGETS, run

CORPUS = Path(__file__).parent / "corpus"


def main() -> None:
    """Fuzz the target that the command line names."""
    name, *options = sys.argv[1:]
    found = Path(".fuzz") / name
    found.mkdir(parents=True, exist_ok=True)
    target = TARGETS[name]
    atheris.Setup([sys.argv[0], *options, str(found), str(CORPUS / name)], lambda data: run(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
