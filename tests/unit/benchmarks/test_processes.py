"""A benchmark's processes are gone when it goes on: all of a group, orphans and what does not listen among them."""

import subprocess
import sys

import psutil

from benchmarks.lib.processes import end_group, tree, tree_memory_mb

ORPHANS = """
import os, signal, sys, time
for _ in range(2):
    if os.fork() == 0:
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        held = bytearray(os.urandom(1 << 20)) * 300
        print(os.getpid(), flush=True)
        time.sleep(600)
print("end", flush=True)
"""


def _start(code: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def test_orphans_of_a_group_are_gone():
    with _start(ORPHANS) as leader:
        assert leader.stdout is not None
        lines = [leader.stdout.readline().strip() for _ in range(3)]
        leader.wait()
        orphans = [psutil.Process(int(line)) for line in lines if line != "end"]
        assert len(orphans) == 2
        end_group(leader.pid)
        assert not [
            process
            for process in orphans
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        ]


def test_others_than_the_groups_stay():
    with (
        _start("import time; time.sleep(600)") as mine,
        _start("import time; time.sleep(600)") as other,
    ):
        mine.kill()
        mine.wait()
        end_group(mine.pid)
        assert other.poll() is None
        other.kill()


def test_memory_of_a_tree_and_of_none():
    with _start(
        "held = bytearray(1 << 28); held[::4096] = b'1' * 65536; print('held', flush=True); import time; time.sleep(600)"
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = tree_memory_mb(process.pid)
        process.kill()
        process.wait()
        assert found > 256
        assert tree(process.pid) == []


def test_processes_that_have_ended_are_no_error():
    with _start("import time; time.sleep(0.2)") as process:
        below = tree(process.pid)
        process.wait()
        end_group(process.pid, below)
        assert not below[0].is_running()
