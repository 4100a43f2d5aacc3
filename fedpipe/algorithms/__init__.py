"""Federated algorithms in TFF, one readable file each."""
