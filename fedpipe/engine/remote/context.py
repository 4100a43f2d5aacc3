"""The TFF execution context of a run over several machines.

    the run's own worker                     machines
    --------------------                     --------
    initialize                               up_to_merge(state, group i)   for i = 0..G-1, on any
    merge(... merge(p0, p1) ..., p[G-1])     <- p_i: the sums of one group   that is free
    after_merge(state, sums)

One share is one value at the clients, which is a group of clients, and partial sums are merged from
left to right in the groups' order. That is the order in which one worker adds the groups' sums, so
that the bits are those of one machine, for any number of machines.
"""

import contextlib
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import tensorflow_federated as tff

from fedpipe.engine.local.call_deadline import (
    Guard,
    RoundTimeoutError,
    WorkerFaultError,
    WorkerLostError,
    raising_failed_computations,
)
from fedpipe.engine.local.context import WorkersContext, compile_native
from fedpipe.engine.local.spread import (
    at_clients,
    compile_mergeable,
    elements_of,
    share_out,
    takes_clients_gives_server,
    without_clients,
)
from fedpipe.engine.local.wire import RemoteCalls, as_bytes, from_message, members_of, to_message
from fedpipe.engine.remote.control import WorkerRefusedError, WorkerUnreachableError
from fedpipe.engine.remote.machine import Machine
from fedpipe.engine.remote.machine_guard import MachineGuard
from fedpipe.engine.remote.machines import Machines
from fedpipe.engine.remote.shares import DeadlineError, NoMachineLeftError, Shares

_RESIDENT = re.compile(rb"[0-9a-f]{64}/[0-9a-f]{64}")
"""Name of a resident file below the folder of them all."""


@dataclass(frozen=True)
class _Work:
    """The computation of the machines in one call.

    Attributes:
        compiled: the partial aggregation.
        names: of the elements of its argument.
        common: message of each element that is the same in every share; None in the place of
            others.
        shares: for each share, the message of each element that is its own; None in the place of
            others.
        files: for each share, the resident files that it reads.
    """

    compiled: Any
    names: list[str | None]
    common: list[Any]
    shares: list[list[Any]]
    files: list[list[str]]


class _Lane:
    """One machine's side of a call: what all shares have in common is sent once."""

    def __init__(self, machine: Machine, guard: MachineGuard, calls: RemoteCalls) -> None:
        self.machine = machine
        self.guard = guard
        self._calls = calls
        self._lock = threading.Lock()
        self._kept: tuple[_Work, list[Any]] | None = None

    def compute(self, work: _Work, share: int) -> Any:
        """Return the message of a share's result."""
        self.machine.bring(work.files[share])
        try:
            return self._compute(work, share)
        except grpc.RpcError as err:
            if not isinstance(err, grpc.Call) or not work.files[share]:
                raise
            # Resident files may be gone there, as when its cache was cleared: they are made again,
            # and then it fails for good.
            self.machine.forget(work.files[share])
            self.machine.bring(work.files[share])
            return self._compute(work, share)

    def _compute(self, work: _Work, share: int) -> Any:
        with self._lock:
            if self._kept is None or self._kept[0] is not work:
                self._release()
                self._kept = (
                    work,
                    [message and self._calls.keep(message) for message in work.common],
                )
            common = self._kept[1]
        own = [message and self._calls.keep(message) for message in work.shares[share]]
        elements = [
            (name, mine or shared)
            for name, mine, shared in zip(work.names, own, common, strict=True)
        ]
        return self._calls.compute_struct(work.compiled, elements, list(filter(None, own)))

    def _release(self) -> None:
        if self._kept is not None:
            self._calls.release(*filter(None, self._kept[1]))
            self._kept = None


class RemoteContext(WorkersContext):
    """Runs TFF computations on the run's own worker, and the clients' part of those that have one
    on machines.
    """

    def __init__(self, guards: Sequence[Guard], machines: Machines) -> None:
        """Take the guard of the own worker, and machines that are connected."""
        super().__init__(guards)
        self._machines = machines
        self._lanes: dict[str, _Lane] = {}

    def invoke(self, comp: Any, arg: Any) -> Any:
        """Return `comp(arg)`, as `tff.framework.SyncContext` has it."""
        with raising_failed_computations():
            if takes_clients_gives_server(comp.type_signature):
                return self._invoke_remote(compile_mergeable(comp), arg)
            return self.lanes[0].call(comp, arg)

    def _invoke_remote(self, form: Any, arg: Any) -> Any:
        parameter = form.up_to_merge.type_signature.parameter
        deadline = self.lanes[0].deadline
        work = _work_of(form.up_to_merge, arg)
        self._machines.look_again()
        shares: Shares[Any] = Shares(len(work.shares), self._machines.longest_share_seconds)
        for machine in self._machines.here:
            self._take_part(machine, shares, work, deadline)
        try:
            merged = self._merged(form, shares.in_order(deadline))
        except NoMachineLeftError as err:
            self._report(shares)
            raise WorkerLostError(
                self._machines.none_left("no machine of runtime.remote is left")
            ) from err
        except DeadlineError as err:
            raise RoundTimeoutError(
                f"{', '.join(shares.late()) or 'the machines'} did not finish the round's shares"
            ) from err
        finally:
            self._machines.longest_share_seconds = shares.longest_seconds
        for address, seconds in shares.late().items():
            shares.drop(
                address, f"it had not finished its share after {seconds:.1f} s, another machine had"
            )
        self._report(shares)
        nobody = without_clients(arg, parameter)
        return self.lanes[0].call(form.after_merge, tff.structure.Struct.unnamed(nobody, merged))

    def _take_part(
        self, machine: Machine, shares: Shares[Any], work: _Work, deadline: float | None
    ) -> None:
        """Let a machine compute shares until there are no more, as many at once as it has cores."""
        guard = machine.guard
        address = machine.address
        if guard is None:
            return  # lost since it was listed
        guard.deadline = deadline
        shares.join(address)
        # Lost in between two shares, it would not be seen by a call.
        machine.when_lost = lambda reason: shares.drop(address, reason)
        if not machine.here:
            shares.drop(address, machine.reason)

        def run() -> None:
            try:
                lane = self._lane(machine, guard)
                while (share := shares.take(address)) is not None:
                    shares.finish(address, share, lane.compute(work, share))
            except RoundTimeoutError:
                pass  # of the whole round; `_invoke_remote` raises it
            except (WorkerFaultError, WorkerUnreachableError, WorkerRefusedError) as err:
                shares.drop(address, machine.reason or str(err))
            except BaseException as err:
                shares.fail(err)

        for number in range(min(machine.cores, len(work.shares))):
            threading.Thread(target=run, name=f"fedpipe-{address}-{number}", daemon=True).start()

    def _lane(self, machine: Machine, guard: MachineGuard) -> _Lane:
        lane = self._lanes.get(machine.address)
        if lane is None or lane.guard is not guard:
            with machine.opening:
                lane = self._lanes.get(machine.address)
                if lane is None or lane.guard is not guard:
                    lane = self._lanes[machine.address] = _Lane(
                        machine, guard, RemoteCalls(guard, 1)
                    )
        return lane

    def _merged(self, form: Any, partials: Iterator[Any]) -> Any:
        """Return the merged value of partial results, each merged as soon as it and those before it
        are there.
        """
        calls = self.lanes[0].calls(0)
        merge = compile_native(form.merge)
        kind = form.merge.type_signature.result
        total = None
        try:
            for message in partials:
                partial = calls.keep(message.federated.value[0])
                if total is None:
                    total = partial
                else:
                    pair = [total, partial]
                    total = calls.call_struct(merge, [(None, value) for value in pair], pair)
            return from_message(calls.fetch(total), kind)
        finally:
            if total is not None:
                with contextlib.suppress(grpc.RpcError):
                    calls.release(total)

    def _report(self, shares: Shares[Any]) -> None:
        for machine in self._machines.all:
            machine.when_lost = None
            if machine.address in shares.lost:
                self._machines.lose(machine, shares.lost[machine.address])


def _work_of(up_to_merge: Any, arg: Any) -> _Work:
    parameter = up_to_merge.type_signature.parameter
    shares = share_out(arg, parameter, None)
    if not isinstance(parameter, tff.StructType):
        raise TypeError(
            "expected a computation of a server state and clients, found "
            f"{parameter.compact_representation()}"
        )
    kinds = elements_of(arg, parameter)
    own = [tff.types.contains(kind, at_clients) for _, _, kind in kinds]
    names = [name for name, _, _ in kinds]
    common = [
        None if mine else to_message(value, kind)
        for mine, (_, value, kind) in zip(own, kinds, strict=True)
    ]
    messages = []
    files = []
    for share in shares:
        parts = [
            (mine, value, kind)
            for mine, (_, value, kind) in zip(own, elements_of(share, parameter), strict=True)
        ]
        messages.append([to_message(value, kind) if mine else None for mine, value, kind in parts])
        files.append([name for mine, value, kind in parts if mine for name in _files(value, kind)])
    return _Work(compile_native(up_to_merge), names, common, messages, files)


def _files(value: Any, kind: Any) -> Iterator[str]:
    """Yield the names of resident files among the strings of a value."""
    if isinstance(kind, tff.FederatedType):
        for member in members_of(value, kind):
            yield from _files(member, kind.member)
    elif isinstance(kind, tff.StructType):
        for _, inner, inner_kind in elements_of(value, kind):
            yield from _files(inner, inner_kind)
    elif isinstance(kind, tff.TensorType) and kind.dtype.type is np.str_:
        for text in getattr(value, "flat", [value]):
            data = as_bytes(text)
            if len(data) == 129 and _RESIDENT.fullmatch(data):
                yield data.decode()
