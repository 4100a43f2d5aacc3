"""One run over hosts with addresses of their own: are the bits those of one machine, what is survived, who is refused, what it costs.

Hosts are network namespaces (`hosts_lab`), each with a `fedpipe worker` that is bound to one core; where there are fewer cores than
hosts, hosts share them, and seconds say little about real machines. `python -m benchmarks.hosts --json`.
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.lib.common import BenchmarkError, console, machine, show_json, show_table
from benchmarks.lib.hosts_lab import RUNNER, Lab, NotHere, Process, payload
from benchmarks.lib.processes import end_what_was_started

CLIENTS = 12
WORKERS = 3
MOST_SURVIVED_SECONDS = 60.0
"""The bar: a round that loses a machine may take so long here; `runtime.round_timeout_seconds` is 120."""


class Hosts:
    """A lab whose hosts have projects, data and certificates."""

    def __init__(self, lab: Lab, folder: Path, stack: ExitStack) -> None:
        """Make the files; nothing is started."""
        from benchmarks.lib.hosts_runner import settings
        from fedpipe.cluster.certificates import make_certificates
        from fedpipe.data.prepare import prepare_shards

        self.lab, self.folder, self._stack = lab, folder, stack
        self.certificates = folder / "certs"
        make_certificates(self.certificates, [lab.address(host) for host in lab.hosts], days=1)
        shards = folder / "shards"
        prepare_shards(settings([], "softmax", CLIENTS).data, shards, folder)
        for host in lab.hosts:
            project = folder / host
            shutil.copytree(shards, project / "data" / "shards")
            (project / "params.yaml").write_text("seed: 1\n")
            (project / "certs").symlink_to(self.certificates)
        self.workers: dict[str, Process] = {}

    def address(self, host: str) -> str:
        """Return where a host's worker listens."""
        return f"{self.lab.address(host)}:7100"

    def start(self, host: str) -> None:
        """Start a host's worker, on one core, in the place of the one that it had."""
        cores = sorted(os.sched_getaffinity(0))
        core = cores[self.lab.hosts.index(host) % len(cores)]
        command = [sys.executable, "-m", "fedpipe", "worker", "--listen", self.address(host)]
        if host in self.workers:
            self.workers[host].close()
        worker = Process(
            self.lab.inside(host, "taskset", "-c", str(core), *command),
            self.folder / host,
            self.folder / f"{host}.log",
        )
        self._stack.callback(worker.close)
        if "listening" not in worker.line():
            raise BenchmarkError(f"{host}: expected a worker that listens")
        self.workers[host] = worker

    @contextmanager
    def run(self, hosts: Sequence[str], model: str = "softmax") -> Iterator[Process]:
        """Give a run over some hosts' workers; over none it is computed on the runner's."""
        command = [
            sys.executable,
            "-m",
            "benchmarks.lib.hosts_runner",
            str(self.folder / RUNNER),
            model,
            *map(self.address, hosts),
        ]
        runner = Process(
            self.lab.inside(RUNNER, *command), Path(__file__).parents[1], self.folder / "runner.log"
        )
        try:
            yield runner
        finally:
            runner.close()


def loss(hosts: Hosts, kind: str, expected: str) -> dict[str, Any]:
    """Lose the second host in the second round, by `killed`, `stopped`, `link_down` or `slow`; return what became of the run.

    Args:
        hosts: all with workers that live.
        kind: how.
        expected: the weights of three rounds without a loss.
    """
    victim = hosts.lab.hosts[2]
    lab, worker = hosts.lab, hosts.workers[victim]
    acts: dict[str, Callable[[], Any]] = {
        "killed": lambda: os.killpg(worker.pid, signal.SIGKILL),
        "stopped": lambda: worker.signal(signal.SIGSTOP),
        "link_down": lambda: lab.set_link(victim, up=False),
        "slow": lambda: lab.slow(victim),
    }
    with hosts.run(hosts.lab.hosts[1:]) as run:
        run.ask({"rounds": 1})
        before = lab.traffic_bytes(victim)["received"]

        def act_in_the_round() -> None:
            deadline = time.monotonic() + 30
            # The state has arrived there: the round has begun, and the machine computes.
            while (
                lab.traffic_bytes(victim)["received"] < before + 30_000
                and time.monotonic() < deadline
            ):
                time.sleep(0.001)
            acts[kind]()

        actor = threading.Thread(target=act_in_the_round)
        actor.start()
        second = run.ask({"rounds": 1})
        actor.join()
        third = run.ask({"rounds": 1})
    if kind == "stopped":
        worker.signal(signal.SIGCONT)
    lab.set_link(victim, up=True)
    lab.normal(victim)
    if kind == "killed":
        hosts.start(victim)
    if "error" in second or "error" in third:
        raise BenchmarkError(f"{kind}: {second.get('error') or third.get('error')}")
    lost = [*second["lost"], *third["lost"]]
    return {
        "bits_equal": third["weights"] == expected,
        "lost": lost,
        "seconds": [*second["seconds"], *third["seconds"]],
    }


def refusals(hosts: Hosts) -> dict[str, str]:
    """Return what a worker answers to clients that it must not serve: without a certificate, with an expired one, of another CA."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    from fedpipe.cluster.certificates import _pem, _secret, _signed, make_certificates

    folder = hosts.folder / "refused"
    make_certificates(folder / "other_ca", [], days=1)
    ca = x509.load_pem_x509_certificate((hosts.certificates / "ca.pem").read_bytes())
    ca_key = load_pem_private_key((hosts.certificates / "ca-key.pem").read_bytes(), None)
    key, certificate = _signed(
        "late",
        -0.001,
        ca_key,
        ca,
        [(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), False)],
    )
    (folder / "expired").mkdir()
    (folder / "expired" / "runner.pem").write_bytes(_pem(certificate))
    (folder / "expired" / "runner-key.pem").write_bytes(_secret(key))
    cases = {
        "no_certificate": "",
        "expired": str(folder / "expired"),
        "other_ca": str(folder / "other_ca"),
    }
    found = {}
    for name, where in cases.items():
        command = [
            sys.executable,
            "-c",
            _ASK,
            hosts.lab.address("w1"),
            str(hosts.certificates / "ca.pem"),
            where,
        ]
        done = subprocess.run(
            hosts.lab.inside(RUNNER, *command),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        found[name] = done.stdout.strip() or done.stderr.strip()[-200:]
    return found


_ASK = """
import socket, ssl, sys
host, ca, mine = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if mine:
    context.load_cert_chain(mine + "/runner.pem", mine + "/runner-key.pem")
try:
    with socket.create_connection((host, 7100), timeout=10) as plain, context.wrap_socket(plain, server_hostname=host) as secure:
        secure.sendall(b"GET /hello HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        print("answered: " + repr(secure.recv(100)))
except OSError as err:
    print("refused: " + (getattr(err, "reason", None) or str(err)))
"""


def clear_text(hosts: Hosts) -> dict[str, bool]:
    """Return whether weights can be read on the runner's cable: `secret` in a round, `control` where they are sent in clear on purpose."""
    with hosts.run(["w1"]) as run:
        run.ask({"rounds": 1})
        with hosts.lab.listening(RUNNER) as frames:
            sample = run.ask({"rounds": 0})["sample"]  # the weights that the next round sends out
            run.ask({"rounds": 1})
        secret = bytes.fromhex(sample) in payload(frames)
        heard = len(payload(frames))
    with hosts.lab.listening(RUNNER) as frames:
        command = hosts.lab.inside(
            RUNNER, sys.executable, "-c", _SEND, hosts.lab.address("w1"), sample
        )
        listener = subprocess.Popen(
            hosts.lab.inside("w1", sys.executable, "-c", _TAKE), stdout=subprocess.PIPE
        )
        assert listener.stdout is not None  # noqa: S101 - it is a pipe, for mypy
        listener.stdout.readline()
        subprocess.run(command, check=True, timeout=30)
        listener.wait(30)
        listener.stdout.close()
    return {
        "secret": secret,
        "control": bytes.fromhex(sample) in payload(frames),
        "heard": heard > 30_000,
    }


_SEND = "import socket, sys; socket.create_connection((sys.argv[1], 7200)).sendall(b'x' * 2000 + bytes.fromhex(sys.argv[2]) + b'x' * 2000)"
_TAKE = """
import socket
server = socket.create_server(("", 7200))
print("ready", flush=True)
connection, _ = server.accept()
while connection.recv(1 << 16): pass
"""


def rounds_over(hosts: Hosts, model: str, count: int, rounds: int) -> dict[str, Any]:
    """Return seconds (median), bytes of the runner's link per round and the weights over `count` workers, without the first round."""
    with hosts.run(hosts.lab.hosts[1 : 1 + count], model) as run:
        run.ask({"rounds": 1})
        before = hosts.lab.traffic_bytes(RUNNER)
        answer = run.ask({"rounds": rounds})
        after = hosts.lab.traffic_bytes(RUNNER)
    if "error" in answer or answer["lost"]:
        raise BenchmarkError(
            f"{model} over {count} workers: {answer.get('error') or answer['lost']}"
        )
    return {
        "seconds": statistics.median(answer["seconds"]),
        "sent_bytes": (after["sent"] - before["sent"]) / rounds,
        "received_bytes": (after["received"] - before["received"]) / rounds,
        "weights": answer["weights"],
    }


def measure(models: Sequence[str], rounds: int) -> dict[str, Any]:
    """Return everything that the benchmark says."""
    with (
        tempfile.TemporaryDirectory(prefix="fedpipe-hosts-") as name,
        ExitStack() as stack,
        Lab(WORKERS) as lab,
    ):
        hosts = Hosts(lab, Path(name), stack)
        for host in lab.hosts[1:]:
            hosts.start(host)
        costs: dict[str, dict[str, Any]] = {}
        for model in models:
            for count in range(WORKERS + 1):
                console.print(f"{model}, {count} workers", style="dim")
                costs.setdefault(model, {})[str(count)] = rounds_over(hosts, model, count, rounds)
        equal = {
            model: len({cost["weights"] for cost in by_count.values()}) == 1
            for model, by_count in costs.items()
        }
        with hosts.run([]) as run:
            expected = run.ask({"rounds": 3})["weights"]
        survived = {}
        for kind in ("killed", "stopped", "link_down", "slow"):
            console.print(f"a machine {kind}", style="dim")
            survived[kind] = loss(hosts, kind, expected)
        refused, clear = refusals(hosts), clear_text(hosts)
        stack.close()  # workers, before the network goes
    return {
        "bits_equal": all(equal.values()) and all(one["bits_equal"] for one in survived.values()),
        "losses_survived": {
            kind: one["bits_equal"] and max(one["seconds"]) < MOST_SURVIVED_SECONDS
            for kind, one in survived.items()
        },
        "losses": survived,
        "refused": {name: said.startswith("refused") for name, said in refused.items()},
        "refusals": refused,
        "weights_in_clear": clear["secret"],
        "control_in_clear": clear["control"],
        "rounds": {
            model: {n: {k: v for k, v in one.items() if k != "weights"} for n, one in by.items()}
            for model, by in costs.items()
        },
        "clients": CLIENTS,
        "machine": machine(),
    }


def main() -> None:
    """Run the benchmark; exits 1 where bits differ, a loss is not survived, a client is let in, or weights can be read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")
    parser.add_argument(
        "--models", nargs="+", default=["softmax", "cnn"], choices=["softmax", "cnn"]
    )
    parser.add_argument("--rounds", type=int, default=5, help="rounds that are measured")
    options = parser.parse_args()
    end_what_was_started()
    try:
        result = measure(options.models, options.rounds)
    except NotHere as err:
        sys.exit(f"hosts cannot be made here: {err}")
    rows = [
        [
            f"{model}, {count} workers",
            f"{one['seconds']:.3g}",
            f"{one['sent_bytes'] / 1e6:.3f}",
            f"{one['received_bytes'] / 1e6:.3f}",
        ]
        for model, by_count in result["rounds"].items()
        for count, one in by_count.items()
    ]
    show_table("a round", ["", "seconds", "MB sent", "MB received"], rows)
    if options.json:
        show_json(result)
    good = (
        result["bits_equal"]
        and all(result["losses_survived"].values())
        and all(result["refused"].values())
    )
    if not good or result["weights_in_clear"] or not result["control_in_clear"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
