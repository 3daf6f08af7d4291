"""What scenarios of clusters share: orders to who runs the nodes, who leads a key, writers that go on while nodes are killed."""

import os
import sys
import threading
import time

from harness import PORTS, call, eventually, same

# A redis-server answers before its replica has what was written, so what it had acknowledged may be lost with it.
LOSES_NOTHING = os.environ["PROGRAMS_AGAINST"] != "redis"

# Longest time until others lead in the place of a node that is gone, on a machine that is busy with builds.
FAILOVER_SECONDS = 120


def order(words):
    """Has a node killed, stopped or started (`kill PORT`), or waits until the cluster is whole (`whole`)."""
    print(f"order {words}", flush=True)
    same(sys.stdin.readline(), "done\n")


def leader_of(key):
    """The port of the node that serves a key; all others say that it has moved."""

    def serves(port):
        try:
            return call(f"TYPE {key}", port).startswith(b"+")
        except OSError:
            return False

    return eventually(lambda: next((port for port in PORTS if serves(port)), None))


def keys_of_leaders(prefix):
    """Three keys, each of which another node serves: by port."""
    keys = {}
    for number in range(1000):
        keys.setdefault(leader_of(f"{prefix}:{number}"), f"{prefix}:{number}")
        if len(keys) == 3:
            return keys
    raise AssertionError(f"three nodes lead, and only these have keys: {keys}")


class Writers:
    """Threads, each of which has a write done for one number after the other, again and again until it is acknowledged."""

    def __init__(self, writes, is_of_failover):
        """`writes`: functions of a number; `is_of_failover` says whether an error may come where a node is lost."""
        self.counts = dict.fromkeys(writes, 0)
        self.errors = set()
        self.broken = []
        self.is_of_failover = is_of_failover
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=one, daemon=True) for one in writes.items()]
        [thread.start() for thread in self.threads]

    def run(self, name, write):
        while not self.is_over.is_set():
            try:
                write(self.counts[name])
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
                if not self.is_of_failover(error):
                    self.broken.append(f"{name}: {said}")
                    return
                self.errors.add(said)
                time.sleep(0.05)
            else:
                self.counts[name] += 1
                # Keeps what is to be looked at in the end to some thousand.
                self.is_over.wait(0.002)

    def go_on(self, count):
        """Waits until each has had so many more writes acknowledged, and returns how many it has had then."""
        wanted = {name: done + count for name, done in self.counts.items()}

        def all_have():
            same(self.broken, [])
            return all(self.counts[name] >= number for name, number in wanted.items())

        try:
            eventually(all_have, FAILOVER_SECONDS)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.counts} of {wanted}, {sorted(self.errors)}") from error
        return dict(self.counts)

    def end(self):
        """Ends them, and returns how many writes of each were acknowledged."""
        self.is_over.set()
        [thread.join() for thread in self.threads]
        same(self.broken, [])
        return self.counts
