"""Putting TLS around a socket, for whoever speaks it: clients of all kinds, and test servers."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socket


def wrapped(context: ssl.SSLContext, sock: socket.socket, **options: Any) -> ssl.SSLSocket:
    """Return ``context.wrap_socket(sock, **options)``; raises what that raises.

    Of a connection that the other side has reset already Python leaves the socket that it has made,
    and that has taken ``sock`` over, open and in nobody's hands: it is closed then.
    """
    try:
        return context.wrap_socket(sock, **options)
    except (OSError, ValueError) as error:
        trace = error.__traceback__
        while trace is not None:
            made = trace.tb_frame.f_locals.get("self")
            if isinstance(made, ssl.SSLSocket):
                made.close()
            trace = trace.tb_next
        raise
