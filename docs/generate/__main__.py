"""``python -m docs.generate``: write every generated document."""

from docs.generate.documents import DOCUMENTS, ROOT

for path, generate in DOCUMENTS.items():
    (ROOT / path).write_text(generate(), encoding="utf-8")
    print(path)  # noqa: T201 - a command that prints
