"""The ``vfgateway`` command: a client of the manager API."""
