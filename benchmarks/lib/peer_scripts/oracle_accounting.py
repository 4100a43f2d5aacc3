"""Epsilon of the newest `dp-accounting`, in a venv of its own: fedpipe's is the one that TFF's pins allow."""

import dp_accounting

from benchmarks.lib.peer_scripts.oracle_job import OracleJob


def main():
    """Answer with epsilon by PLD and by Renyi divergences."""
    job = OracleJob()
    relation = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
    accountants = {"PLD": dp_accounting.pld.PLDAccountant, "RDP": dp_accounting.rdp.RdpAccountant}
    answer = {key: [] for key in accountants}
    for training in job.values["epsilons"]:
        gaussian = dp_accounting.GaussianDpEvent(training["noise"])
        sampled = dp_accounting.PoissonSampledDpEvent(
            training["cohort"] / training["clients"], gaussian
        )
        for key, kind in accountants.items():
            accountant = kind(neighboring_relation=relation).compose(sampled, training["rounds"])
            answer[key].append(float(accountant.get_epsilon(training["delta"])))
    job.answer({"epsilons": answer})


if __name__ == "__main__":
    main()
