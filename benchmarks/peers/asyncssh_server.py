"""asyncssh's SFTP server as its manual starts it. Arguments: port, host key, authorized keys."""

from __future__ import annotations

import asyncio
import sys

import asyncssh


async def main(port: int, host_key: str, admitted: str) -> None:
    """Serve until the end."""
    await asyncssh.listen(
        "127.0.0.1", port, server_host_keys=[host_key], authorized_client_keys=admitted, sftp_factory=True
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
