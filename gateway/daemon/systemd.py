"""systemd: what sd_notify(3) says, over the socket that NOTIFY_SOCKET names. No-op without one."""

import os
import socket


def notify(state: str) -> None:
    """Tells the service manager, e.g. `READY=1`; it is never worth a failure of ours."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.connect(address)
            sock.send(state.encode())
    except OSError:
        return
