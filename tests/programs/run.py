#!/usr/bin/env python3
"""Runs programs and libraries that use Redis, unmodified, against nodes, and prints a line for each scenario and kind of node.

It starts a node for each kind (so many cores) on a free port of this machine with a directory of its own, runs the scenarios one
after the other, and ends what it has started. `--against redis` starts a redis-server instead, which shows that a scenario is
right. What is known not to work yet is in `known.txt` and does not count as a failure.
"""

import argparse
import fnmatch
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent

# Longest time of a scenario, whose checks have deadlines of their own, and of a node that starts or ends.
SCENARIO_SECONDS = 1200
NODE_SECONDS = 120


class Node:
    """A process that serves a port, of Basalt or Redis."""

    def __init__(self, command, directory):
        self.port = free_port()
        self.log = directory / "log"
        # Settings of the machine do not reach it.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("BASALT_")}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), "--dir", str(directory)], stdout=log, stderr=log, env=environment
            )

    def wait_ready(self):
        deadline = time.monotonic() + NODE_SECONDS
        while b"\r\nloading:0\r\n" not in self.ask(b"INFO persistence\r\n"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the node does not serve:\n{self.log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)

    def ask(self, line):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
                connection.sendall(line)
                connection.settimeout(10)
                return connection.recv(65536)
        except OSError:
            return b""

    def stop(self):
        end(self.process)


def end(process):
    """Ends a process that this one has started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(NODE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# Scenarios that run with older versions of their libraries too: names, and the modules of package.json.
NODE_VERSIONS = {
    "bullmq": {"bullmq": "bullmq", "bullmq_5": "bullmq5"},
    "ioredis": {"ioredis": "ioredis", "ioredis_5": "ioredis5"},
    "node_redis": {"node_redis": "redis", "node_redis_5": "redis5", "node_redis_4": "redis4"},
}
PYTHON_VERSIONS = {
    "arq_jobs": {"arq_jobs": "older"},
    "celery_tasks": {"celery_tasks": "", "celery_tasks_5_4": "older"},
    "redis_py": {"redis_py": "", "redis_py_5": "older"},
}


def scenarios(tools):
    """Names of all scenarios, their commands and what these find in their environment."""
    for path in sorted((HERE / "python").glob("*.py")):
        if path.stem not in ("harness", "jobs"):
            for name, folder in PYTHON_VERSIONS.get(path.stem, {path.stem: ""}).items():
                yield name, [str(tools / "venv/bin/python"), str(path)], {"PYTHONPATH": str(tools / folder) if folder else ""}
    for path in sorted((HERE / "node").glob("*.js")):
        if path.stem != "harness":
            for name, module in NODE_VERSIONS.get(path.stem, {path.stem: ""}).items():
                yield name, ["node", str(path)], {"PROGRAMS_MODULE": module, "NODE_PATH": str(tools / "node/node_modules")}


def known_failures(kind):
    """What is known to fail on a kind of node: patterns of checks, and words of their errors."""
    if kind == "redis":
        return []
    lines = [line for line in (HERE / "known.txt").read_text().splitlines() if line and not line.startswith("#")]
    rows = [[part.strip() for part in line.split(" | ")] for line in lines]
    return [(checks, words) for checks, nodes, words in rows if nodes == "all" or kind != "1-core"]


def run_scenario(command, environment, log):
    """Runs a scenario and returns its checks: their names, and None or why they failed. What else it says goes to `log`."""
    with open(log, "wb") as errors:
        # A session of its own: what it has started and not ended goes with it.
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True, start_new_session=True
        )
        try:
            output, _ = process.communicate(timeout=SCENARIO_SECONDS)
        except subprocess.TimeoutExpired:
            output = f"failed scenario: not done after {SCENARIO_SECONDS} s"
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
    results = []
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        if word == "ok":
            results.append((rest, None))
        elif word == "failed":
            name, _, why = rest.partition(": ")
            results.append((name, why))
    if process.returncode and all(why is None for _, why in results):
        results.append(("scenario", f"it ended with {process.returncode}: {log.read_text(errors='replace')[-300:]}"))
    return results


def kinds_of_nodes(arguments):
    """Names of the nodes to run against, and the commands that start them."""
    if arguments.against == "redis":
        return [("redis", ["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])]
    # Cores may exceed the processors of this machine.
    basalt = [arguments.basalt, "--pin", "no", "--memory", "1gb", "--cores"]
    return [(f"{cores}-core{'s' * (cores != '1')}", [*basalt, cores]) for cores in arguments.cores.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", type=pathlib.Path, required=True, help="folder into which install.sh has put the libraries")
    parser.add_argument("--against", choices=["basalt", "redis"], default="basalt")
    parser.add_argument("--basalt", default="basalt", help="the binary")
    parser.add_argument("--cores", default="1,2,4", help="a node with so many cores for each of these")
    parser.add_argument("--only", default="", help="scenarios whose names contain this")
    parser.add_argument("--check", default=[], nargs="*", help="checks whose names contain one of these")
    arguments = parser.parse_args()
    # Ends what was started on SIGTERM too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    counts = {"ok": 0, "known": 0, "FAILED": 0}
    mended = []
    root = pathlib.Path(tempfile.mkdtemp(prefix="basalt-programs-"))
    for kind, command in kinds_of_nodes(arguments):
        known = known_failures(kind)
        directory = root / kind
        directory.mkdir()
        (root / "tmp").mkdir(exist_ok=True)
        node = Node(command, directory)
        try:
            node.wait_ready()
            for name, scenario, variables in scenarios(arguments.tools.absolute()):
                if arguments.only not in name:
                    continue
                own = {"PROGRAMS_PORT": str(node.port), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(root / "tmp")}
                results = run_scenario([*scenario, *arguments.check], os.environ | own | variables, root / f"{kind}-{name}.log")
                for check, why in results:
                    check = f"{name}.{check}"
                    words = [words for checks, words in known if fnmatch.fnmatchcase(check, checks)]
                    verdict = "ok" if why is None else "known" if any(some in why for some in words) else "FAILED"
                    counts[verdict] += 1
                    if why is None and words:
                        mended.append(f"{check} on {kind}")
                    print(f"{verdict:6} {kind:7} {check}" + (f": {why[:300]}" if why else ""), flush=True)
                if node.process.poll() is not None:
                    raise SystemExit(f"the node has ended, see {node.log}")
        finally:
            node.stop()
    if not sum(counts.values()):
        raise SystemExit("no scenario and check have such names")
    print(f"{counts['ok']} passed, {counts['known']} failed as known, {counts['FAILED']} failed")
    if mended:
        print("these are in known.txt and pass: " + ", ".join(mended))
    if counts["FAILED"]:
        print(f"what the scenarios and the nodes said is in {root}")
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
