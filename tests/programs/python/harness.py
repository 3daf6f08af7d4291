"""Runs the checks of a scenario, each on an empty node, and prints a line for each: `ok NAME` or `failed NAME: why`.

A scenario is a script: it marks its checks with `@check` and ends with `run()`. The node's port is in PROGRAMS_PORTS, or those of
all nodes of a cluster.
"""

import faulthandler
import gc
import os
import signal
import socket
import sys
import time
import traceback

HOST = "127.0.0.1"
PORTS = [int(port) for port in os.environ["PROGRAMS_PORTS"].split(",")]
PORT = PORTS[0]
URL = f"redis://{HOST}:{PORT}"

# Far longer than any check takes on a machine that is busy with builds; the nodes of a cluster share it.
CHECK_SECONDS = 120 if len(PORTS) == 1 else 360

CHECKS = []


def check(function):
    """Makes a function one of the scenario's checks; it fails by raising."""
    CHECKS.append(function)
    return function


def eventually(condition, seconds=60):
    """Waits until `condition()` is truthy, and returns what it is then."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still {value!r} after {seconds} s")
        time.sleep(0.05)
    return value


def same(seen, wanted):
    """Fails, and shows both, if they differ."""
    assert seen == wanted, f"{seen!r} instead of {wanted!r}"


def call(line, port=PORT):
    """Sends one inline command over a connection of its own, past all libraries, and returns the first bytes of the reply."""
    with socket.create_connection((HOST, port), 60) as connection:
        connection.sendall(line.encode() + b"\r\n")
        return connection.recv(65536)


def empty():
    """Empties the nodes; one that follows others does not do it itself."""
    for port in PORTS:
        reply = call("FLUSHALL", port)
        assert reply == b"+OK\r\n" or reply.startswith(b"-READONLY "), reply


def run():
    """Runs the checks whose names contain a word of the command line, all without one; the exit status says whether they passed."""

    # In redis-py 5 a thread waits for ever for a lock that it holds itself if an object is collected meanwhile that takes it too.
    gc.disable()
    is_late = False

    def too_late(*_):
        nonlocal is_late
        is_late = True
        raise TimeoutError(f"not done after {CHECK_SECONDS} s")

    signal.signal(signal.SIGALRM, too_late)
    words = sys.argv[1:] or [""]
    failures = 0
    for function in CHECKS:
        name = function.__name__
        if not any(word in name for word in words):
            continue
        is_late = False
        # Says where each thread was.
        faulthandler.dump_traceback_later(CHECK_SECONDS - 1)
        signal.alarm(CHECK_SECONDS)
        try:
            empty()
            function()
            # Libraries catch the error of `too_late`, and go on.
            assert not is_late, f"only done after {CHECK_SECONDS} s"
        except BaseException as error:
            failures += 1
            traceback.print_exc()
            print(f"failed {name}: {type(error).__name__}: {error}".replace("\n", " "), flush=True)
        else:
            print(f"ok {name}", flush=True)
        finally:
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()
    # Threads that libraries have left do not hold the scenario up.
    os._exit(1 if failures else 0)
