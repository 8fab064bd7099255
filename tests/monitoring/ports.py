"""Ports for servers that must find theirs free again when they are started anew."""

import contextlib
import random
import socket


def fixed_ports(count):
    """Different ports, free on all interfaces, and below those that the kernel gives away by itself."""
    rng = random.SystemRandom()
    with contextlib.ExitStack() as held:
        ports = []
        while len(ports) < count:
            port = rng.randrange(20000, 30000)
            taken = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                taken.bind(("", port))
                ports.append(port)
        return ports
