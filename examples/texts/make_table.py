"""Writes texts.csv: paragraphs of the documentation inside Python's own standard library; the label is what the module is about.

A client is a module. Run it once, before `fedpipe run`: `python make_table.py`.
"""

import ast
import csv
import sysconfig
from pathlib import Path

SUBJECTS = {
    "network": "email http urllib xmlrpc asyncio wsgiref smtplib ftplib imaplib socketserver",
    "text": "json html xml re csv string textwrap configparser encodings argparse gettext",
    "python": "importlib unittest ast inspect dis typing dataclasses pydoc doctest pdb",
    "system": "multiprocessing concurrent ctypes subprocess shutil pathlib tempfile os tarfile zipfile",
}
"""Modules and packages of each subject."""

SHORTEST = 40


def paragraphs(file: Path) -> list[str]:
    """Return the paragraphs of a file's docstrings, each on one line."""
    found = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
                text = " ".join(paragraph.split())
                if len(text) >= SHORTEST and ">>>" not in text:
                    found.append(text)
    return list(dict.fromkeys(found))


def main() -> None:
    """Write the table beside this file."""
    library = Path(sysconfig.get_path("stdlib"))
    with Path(__file__).with_name("texts.csv").open("w", encoding="utf-8", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["text", "label", "client"])
        for subject, names in SUBJECTS.items():
            for name in names.split():
                folder = library / name
                files = (
                    sorted(folder.rglob("*.py")) if folder.is_dir() else [library / f"{name}.py"]
                )
                for file in files:
                    for text in paragraphs(file):
                        writer.writerow([text, subject, name])


if __name__ == "__main__":
    main()
