"""Redis and memcached in containers of scripts/stores, on the network of the host, so that no proxy is measured."""

import os
import socket
import time

from processes import Failure, free_port, output

REDIS = ("redis:8", lambda port: ["redis-server", "--port", port, "--save", "", "--appendonly", "no",
                                  "--protected-mode", "no"])
MEMCACHED = ("memcached:1.6", lambda port: ["memcached", "-p", port, "-m", "512"])


class Container:
    """A store on a core."""

    def __init__(self, store, core):
        image, command = store
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.name = f"bench-{os.getpid()}-{self.port}"
        run = ["docker", "run", "--detach", "--rm", "--name", self.name, "--label", "cache-test=bench",
               "--network", "host", "--cpuset-cpus", core, image, *command(self.port)]
        output(run, timeout=120)
        until = time.monotonic() + 30
        while True:
            try:
                self.ask(b"PING\r\n" if store is REDIS else b"version\r\n")
                return
            except OSError:
                if time.monotonic() > until:
                    self.stop()
                    raise Failure(f"{image} does not answer") from None
                time.sleep(0.05)

    def ask(self, line):
        """Sends a line of the store's protocol, and returns the first part of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(line)
            return connection.recv(64 * 1024).decode(errors="replace")

    def empty(self):
        """Removes everything."""
        self.ask(b"FLUSHALL\r\n")

    def stop(self):
        try:
            output(["docker", "rm", "--force", self.name], timeout=60)
        except Failure:
            pass
