"""Writes texts.csv: paragraphs of the documentation inside Python's own standard library; the label is what the module is about.

A client is a module. Run it once, before `fedpipe run`: `python make_table.py`.
"""

import ast
import csv
import sysconfig
from pathlib import Path

SUBJECTS = {
    "network": (
        "email",
        "http",
        "urllib",
        "xmlrpc",
        "asyncio",
        "wsgiref",
        "smtplib.py",
        "ftplib.py",
        "imaplib.py",
        "socketserver.py",
    ),
    "text": (
        "json",
        "html",
        "xml",
        "re",
        "csv.py",
        "string.py",
        "textwrap.py",
        "configparser.py",
        "encodings",
        "argparse.py",
        "gettext.py",
    ),
    "python": (
        "importlib",
        "unittest",
        "ast.py",
        "inspect.py",
        "dis.py",
        "typing.py",
        "dataclasses.py",
        "pydoc.py",
        "doctest.py",
        "pdb.py",
    ),
    "system": (
        "multiprocessing",
        "concurrent",
        "ctypes",
        "subprocess.py",
        "shutil.py",
        "pathlib.py",
        "tempfile.py",
        "os.py",
        "tarfile.py",
        "zipfile.py",
    ),
}
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
    with Path(__file__).with_name("texts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "client"])
        for subject, places in SUBJECTS.items():
            for place in places:
                path = library / place
                files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
                for module in files:
                    for text in paragraphs(module):
                        writer.writerow([text, subject, place.removesuffix(".py")])


if __name__ == "__main__":
    main()
