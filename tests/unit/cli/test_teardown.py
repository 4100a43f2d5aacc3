"""The end of a program that succeeded: what libraries do at exit is done, and modules are not taken apart."""

import subprocess
import sys

SCRIPT = """
import atexit, sys
from fedpipe.cli import main

class Module:
    def __del__(self):
        print("taken apart")

def of_a_library():
    print("done at exit")

sys.argv = ["fedpipe", "--version"]
kept = Module()
kept.itself = kept  # until Python ends
try:
    main()
except SystemExit as end:
    atexit.register(of_a_library)
    {then}
"""


def run(then: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", SCRIPT.format(then=then)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_libraries_end_and_modules_are_not_taken_apart() -> None:
    done = run("raise")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["fedpipe", "done"]


def test_an_exception_after_it_still_counts() -> None:
    done = run("raise ValueError('later')")
    assert done.returncode == 1
    assert "later" in done.stderr


def test_output_that_cannot_be_written_is_no_success() -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "fedpipe", "--version"]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.DEVNULL, timeout=60, check=False
        )
    assert done.returncode not in (0, -6)
