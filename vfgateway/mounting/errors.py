"""What goes wrong with mounts, in words for administrators; never with a secret in them."""

from __future__ import annotations


class MountError(Exception):
    """``str()`` is a sentence."""


class UnknownMount(MountError):
    """No volume of that name is configured."""


class Refused(MountError):
    """What is asked for could do harm."""


class MountFailed(MountError):
    """``mount`` or ``umount`` says no, or does not end."""


class SourceUnavailable(MountError):
    """The volumes cannot be read: from the file, or from etcd."""
