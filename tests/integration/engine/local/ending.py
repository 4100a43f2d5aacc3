"""Starts a worker, writes the processes' ids, and ends as told: `python ending.py HOW DIRECTORY`."""

import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

from fedpipe.engine.local.worker import Worker


def start(directory: Path) -> Worker:
    worker = Worker("auto", directory / "worker.log")
    worker.wait_ready(60)
    return worker


def start_in_a_thread_that_ends(directory: Path) -> Worker:
    workers: list[Worker] = []
    thread = threading.Thread(target=lambda: workers.append(start(directory)))
    thread.start()
    thread.join()
    time.sleep(0.2)
    if not workers[0].alive():
        sys.exit("the worker ended with the thread that started it")
    return workers[0]


def fork(how: str, worker: Worker) -> int:
    pid = os.fork()
    if pid == 0:
        if how == "forked_child_exits_first":
            sys.exit(0)  # runs the finalizers that it inherited
        time.sleep(60)
        os._exit(0)
    if how == "forked_child_exits_first":
        os.waitpid(pid, 0)
        time.sleep(0.1)
        if not worker.alive():
            sys.exit("a forked child ended its parent's worker")
        return 0
    return pid


def end(how: str, worker: Worker) -> None:
    match how:
        case "exception":
            raise RuntimeError("planted")
        case "sys_exit":
            sys.exit(3)
        case "SIGINT" | "SIGTERM" | "SIGHUP" | "SIGKILL" | "SIGQUIT":
            os.kill(os.getpid(), signal.Signals[how])
        case "sigkill_while_starting" | "forked_child_stays_sigkill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "abort":
            os.abort()
        case "os_exit":
            os._exit(4)
        case "exec":
            os.execv("/bin/true", ["true"])  # noqa: S606 - this is the ending
        case "exec_stays":
            os.execv("/bin/sleep", ["sleep", "40"])  # noqa: S606
        case "supervisor_killed":
            os.kill(worker.supervisor_pid, signal.SIGKILL)
            while worker.alive():
                time.sleep(0.01)
        case "supervisor_stopped":
            os.kill(worker.supervisor_pid, signal.SIGSTOP)
        case "worker_stopped":
            os.kill(worker.pid, signal.SIGSTOP)
        case "closed":
            worker.close()
            os._exit(0)


def main(how: str, directory: Path) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if how == "starting_thread_ends":
        worker = start_in_a_thread_that_ends(directory)
    elif how == "sigkill_while_starting":
        worker = Worker("auto", directory / "worker.log")
    else:
        worker = start(directory)
    forked = fork(how, worker) if how.startswith("forked_child") else 0
    pids = {
        "worker": worker.pid,
        "supervisor": worker.supervisor_pid,
        "forked": forked,
        "target": worker.target,
    }
    (directory / "pids.json").write_text(json.dumps(pids))
    end(how, worker)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
