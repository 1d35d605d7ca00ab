"""Redis and memcached in containers of scripts/stores, on the network of the host, so that no proxy is measured."""

import os
import socket
import time

from processes import Failure, free_port, output


def redis(*options):
    """Returns the image of Redis, and the command for a port."""
    return "redis:8", lambda port: ["redis-server", "--port", port, "--save", "", "--appendonly", "no",
                                    "--protected-mode", "no", *options]


REDIS = redis()
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
                self.ask(b"version\r\n" if store is MEMCACHED else b"PING\r\n")
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


class Cluster:
    """A Redis Cluster of three masters, all on a core."""

    MASTERS = 3
    SLOTS = 16384

    def __init__(self, core):
        self.nodes = []
        # Where the nodes talk to each other. The default, the port plus 10,000, may be above the greatest port.
        buses = [free_port() for _ in range(self.MASTERS)]
        try:
            for bus in buses:
                node = redis("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-announce-ip", "127.0.0.1")
                self.nodes.append(Container(node, core))
            self._join(buses)
        except (Failure, OSError) as error:
            self.stop()
            raise Failure(str(error)) from None
        first, *others = (node.address for node in self.nodes)
        self.url = f"redis-cluster://{first}?{'&'.join(f'node={other}' for other in others)}"

    def _join(self, buses):
        bounds = [self.SLOTS * number // self.MASTERS for number in range(self.MASTERS + 1)]
        for number, node in enumerate(self.nodes):
            node.ask(f"CLUSTER ADDSLOTSRANGE {bounds[number]} {bounds[number + 1] - 1}\r\n".encode())
            node.ask(f"CLUSTER MEET 127.0.0.1 {self.nodes[0].port} {buses[0]}\r\n".encode())
        until = time.monotonic() + 30
        # A node that sees all slots served knows all masters.
        while not all("cluster_state:ok" in node.ask(b"CLUSTER INFO\r\n") for node in self.nodes):
            if time.monotonic() > until:
                raise Failure("the Cluster does not serve all slots")
            time.sleep(0.05)

    def empty(self):
        for node in self.nodes:
            node.empty()

    def stop(self):
        for node in self.nodes:
            node.stop()
