"""Mounts volumes on the hosts of agents, for as long as somebody there uses them. A small program of its own: it knows neither the gateway's
services nor its database, only what is to be mounted, and what the kernel has mounted."""
