"""The worker that serves runs on other machines, its certificates, and the machines of a run."""
