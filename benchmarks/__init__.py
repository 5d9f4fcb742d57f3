"""This gateway beside its peers: the same files, the same client, the same machine, in turn. ``python -m benchmarks --help``."""
