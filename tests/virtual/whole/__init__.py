"""Whole gateways in the virtual machine, which take minutes to start there: ``make vm-check``."""
