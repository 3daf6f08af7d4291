"""Nodes of Basalt or Redis that scenarios run against: single ones, and a few as a cluster, which may be killed and come back."""

import os
import signal
import socket
import subprocess
import time

# Longest time of a node that starts or ends, and of a cluster until it is whole.
NODE_SECONDS = 120

# Ports of a cluster's nodes, below those that the kernel gives to connections: one that is to be started again finds its port free.
CLUSTER_PORTS = range(20_000, 32_000, 2)


class Node:
    """A process that serves a port."""

    def __init__(self, command, directory, port):
        self.port = port
        self.log = directory / "log"
        self.command = [*command, "--port", str(port), "--dir", str(directory)]
        self.process = None
        directory.mkdir(parents=True)
        self.start()

    def start(self):
        # Settings of the machine do not reach it.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BASALT_")}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, env=environment)

    def has_ended(self):
        return self.process.poll() is not None

    def wait_ready(self):
        deadline = time.monotonic() + NODE_SECONDS
        while b"\r\nloading:0\r\n" not in self.ask(b"INFO persistence\r\n"):
            if self.has_ended() or time.monotonic() > deadline:
                raise SystemExit(f"the node does not serve:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def ask(self, line):
        """Sends a line, and returns the reply, which is a simple or a bulk string, an integer or an error; empty without one."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
                connection.sendall(line)
                connection.settimeout(10)
                with connection.makefile("rb") as replies:
                    head = replies.readline()
                    return head + replies.read(int(head[1:]) + 2) if head.startswith(b"$") else head
        except OSError:
            return b""

    def fields(self, line):
        """The fields of a reply that has one a line, as those of INFO."""
        lines = self.ask(line).decode(errors="replace").splitlines()
        return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}

    def ports(self):
        return [self.port]

    def obey(self, order):
        """A node alone stays as it is."""
        return f"{order}: there is no cluster"

    def mend(self):
        if self.has_ended():
            raise SystemExit(f"the node has ended, see {self.log}")

    def stop(self):
        end(self.process)

    def kill(self):
        self.process.kill()
        self.process.wait()


class Cluster:
    """Nodes that redis-cli has made one cluster of three leaders."""

    def __init__(self, command, directory, replicas):
        """`replicas`: nodes that redis-cli makes replicas of each leader; None where each node has replicas of all slots."""
        self.followers = 2 if replicas is None else replicas
        ports = free_port_pairs(3 * (1 + (replicas or 0)))
        self.nodes = {}
        try:
            for port in ports:
                own = ["--cluster-port", str(port + 1)]
                self.nodes[str(port)] = Node([*command, *own], directory / str(port), port)
            for node in self.nodes.values():
                node.wait_ready()
            addresses = [f"127.0.0.1:{port}" for port in ports]
            self.redis_cli("create", *addresses, "--cluster-replicas", str(replicas or 0), "--cluster-yes")
            self.wait_whole()
        except BaseException:
            self.stop()
            raise

    def ports(self):
        return list(self.nodes)

    @staticmethod
    def redis_cli(*words):
        """Runs an order of `redis-cli --cluster`."""
        done = subprocess.run(["redis-cli", "--cluster", *words], capture_output=True, text=True, timeout=NODE_SECONDS)
        if done.returncode or "[OK] All 16384 slots covered." not in done.stdout:
            raise SystemExit(f"redis-cli --cluster {' '.join(words)}:\n{done.stdout}{done.stderr}")

    def lacks(self):
        """What the cluster lacks until it is whole: nothing if all nodes serve, three lead, and all followers have everything."""
        leaders = 0
        for port, node in self.nodes.items():
            if node.has_ended():
                return f"{port} has ended"
            about = node.fields(b"CLUSTER INFO\r\n")
            if (about.get("cluster_state"), about.get("cluster_known_nodes")) != ("ok", str(len(self.nodes))):
                return f"{port}: {about}"
            known = node.ask(b"CLUSTER NODES\r\n").decode(errors="replace")
            if sum("slave" in line.split(" ")[2] for line in known.splitlines()[1:] if line) != len(self.nodes) - 3:
                return f"{port}: {known}"
            about = node.fields(b"INFO replication\r\n")
            if about.get("role") == "master":
                leaders += 1
                wanted = f"offset={about['master_repl_offset']},"
                followers = [value for name, value in about.items() if name[:5] == "slave" and name[5:].isdigit()]
                if sum("state=online" in value and wanted in value for value in followers) < self.followers:
                    return f"{port}: {about}"
            elif about.get("master_link_status") != "up":
                return f"{port}: {about}"
        return "" if leaders == 3 else f"there are {leaders} leaders"

    def wait_whole(self):
        """Waits until the cluster is whole, and has redis-cli check it."""
        deadline = time.monotonic() + NODE_SECONDS
        while lacking := self.lacks():
            if time.monotonic() > deadline:
                raise SystemExit(f"the cluster is not whole after {NODE_SECONDS} s: {lacking}")
            time.sleep(0.1)
        self.redis_cli("check", f"127.0.0.1:{next(iter(self.nodes))}")

    def obey(self, order):
        """Carries out what a scenario orders, and answers it in a line."""
        verb, _, port = order.partition(" ")
        try:
            if verb == "whole":
                self.wait_whole()
            else:
                {"kill": Node.kill, "stop": Node.stop, "start": Node.start}[verb](self.nodes[port])
            return "done"
        except (SystemExit, OSError, subprocess.SubprocessError) as error:
            return " ".join(str(error).split())

    def mend(self):
        """Starts what a scenario has left dead."""
        for node in self.nodes.values():
            if node.has_ended():
                node.start()
        self.wait_whole()

    def stop(self):
        for node in self.nodes.values():
            node.stop()


def end(process):
    """Ends a process that this one has started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(NODE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def is_free(port):
    with socket.socket() as probe:
        # As servers do it: a connection that was closed there a moment ago does not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_port_pairs(count):
    """Ports that are free, and so is the next one of each; others who look at the same time begin elsewhere."""
    start = os.getpid() * 7 % len(CLUSTER_PORTS)
    ports = (CLUSTER_PORTS[(start + offset) % len(CLUSTER_PORTS)] for offset in range(len(CLUSTER_PORTS)))
    found = [port for port, _ in zip((port for port in ports if is_free(port) and is_free(port + 1)), range(count))]
    if len(found) < count:
        raise SystemExit(f"fewer than {count} ports are free in {CLUSTER_PORTS}")
    return found
