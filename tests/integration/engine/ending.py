"""Starts a worker, writes the processes' ids, and ends as told: `python ending.py HOW DIRECTORY`."""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from fedpipe.engine.worker import Worker

how, directory = sys.argv[1], Path(sys.argv[2])
workers: list[Worker] = []


def start() -> None:
    workers.append(Worker("auto", directory / "worker.log"))
    workers[0].wait_ready(60)


def fork_and_stay() -> int:
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    return pid


if how == "starting_thread_ends":
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    time.sleep(0.2)
    if not workers[0].alive():
        sys.exit("the worker ended with the thread that started it")
elif how == "sigkill_while_starting":
    workers.append(Worker("auto", directory / "worker.log"))
else:
    start()
worker = workers[0]
forked = fork_and_stay() if how.startswith("forked_child_stays") else 0
if how == "forked_child_exits_first":
    forked = os.fork()
    if forked == 0:
        sys.exit(0)  # runs the finalizers that it inherited
    os.waitpid(forked, 0)
    time.sleep(0.1)
    if not worker.alive():
        sys.exit("a forked child ended its parent's worker")
pids = {"worker": worker.pid, "supervisor": worker.supervisor_pid, "forked": forked, "target": worker.target}
(directory / "pids.json").write_text(json.dumps(pids))

if how == "exception":
    raise RuntimeError("planted")
if how == "sys_exit":
    sys.exit(3)
if how in {"SIGINT", "SIGTERM", "SIGHUP", "SIGKILL", "SIGQUIT"}:
    os.kill(os.getpid(), signal.Signals[how])
if how in {"sigkill_while_starting", "forked_child_stays_sigkill"}:
    os.kill(os.getpid(), signal.SIGKILL)
if how == "abort":
    os.abort()
if how == "os_exit":
    os._exit(4)
if how == "exec":
    os.execv("/bin/true", ["true"])  # noqa: S606 - this is the ending
if how == "supervisor_killed":
    os.kill(worker.supervisor_pid, signal.SIGKILL)
    while worker.alive():
        time.sleep(0.01)
if how == "supervisor_stopped":
    os.kill(worker.supervisor_pid, signal.SIGSTOP)
if how == "worker_stopped":
    os.kill(worker.pid, signal.SIGSTOP)
if how == "closed":
    worker.close()
    os._exit(0)
