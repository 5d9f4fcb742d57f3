"""What people did about vfolders and rights, as events."""

from __future__ import annotations

from typing import ClassVar

import attrs

from vfgateway.services.events import Event


@attrs.frozen(kw_only=True)
class SharingChanged(Event):
    """Somebody changed to whom a vfolder is opened, or whose it is.

    :ivar action: ``grant``, ``revoke``, ``leave``, ``invite``, ``accept``, ``decline``, ``withdraw``, ``transfer``, ``link``, ``unlink``
    :ivar user: who did it; the name of an account, or of who acts without one
    :ivar subject: whom it is about (``user:UUID``, ``group:UUID``), or which link
    :ivar permission: ``ro``, ``rw``, ``rwd``, ``owner``, or what a link is for
    """

    name: ClassVar[str] = "sharing"

    action: str
    user: str
    vfid: str
    subject: str = ""
    permission: str = ""


@attrs.frozen(kw_only=True)
class VFolderTrashed(Event):
    """A vfolder has been moved to the trash (``until``: epoch seconds), or has expired into it."""

    name: ClassVar[str] = "vfolder_trashed"

    user: str
    vfid: str
    until: float


@attrs.frozen(kw_only=True)
class VFolderRestored(Event):
    """A vfolder has been taken out of the trash."""

    name: ClassVar[str] = "vfolder_restored"

    user: str
    vfid: str
