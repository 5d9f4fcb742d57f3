"""Our own routes under ``/vfgateway/v1``: people, vfolders, grants and what goes on, for orchestrators and the command line."""
