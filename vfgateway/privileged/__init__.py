"""What only root may do, in a process of its own with a narrow list of verbs, so that the gateway itself can run as an ordinary user.

The process (``python -m vfgateway.privileged``) listens on a Unix socket, asks the kernel who is there, and takes directories as descriptors rather
than as paths; it checks everything it is told against what it was started with. It uses the standard library alone.
"""
