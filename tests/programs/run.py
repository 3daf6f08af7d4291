#!/usr/bin/env python3
"""Runs programs and libraries that use Redis, unmodified, against nodes, and prints a line for each scenario and kind of node.

It starts a node for each kind (so many cores) on a free port of this machine with a directory of its own, runs the scenarios one
after the other, and ends what it has started. Scenarios named `…_cluster` run against three such nodes as a cluster, and may have
them killed. `--against redis` starts redis-server instead, which shows that a scenario is right; a cluster has six of them then.
What is known not to work yet is in `known.txt` and does not count as a failure.
"""

import argparse
import fnmatch
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from nodes import Cluster, Node, free_port

HERE = pathlib.Path(__file__).resolve().parent

# Longest time of a scenario, whose checks have deadlines of their own.
SCENARIO_SECONDS = 1200

# Scenarios that run with older versions of their libraries too: names, and the modules of package.json.
NODE_VERSIONS = {
    "bullmq": {"bullmq": "bullmq", "bullmq_5": "bullmq5"},
    "ioredis": {"ioredis": "ioredis", "ioredis_5": "ioredis5"},
    "ioredis_cluster": {"ioredis_cluster": "ioredis", "ioredis_5_cluster": "ioredis5"},
    "node_redis": {"node_redis": "redis", "node_redis_5": "redis5", "node_redis_4": "redis4"},
    "node_redis_cluster": {"node_redis_cluster": "redis", "node_redis_5_cluster": "redis5", "node_redis_4_cluster": "redis4"},
}
PYTHON_VERSIONS = {
    "arq_jobs": {"arq_jobs": "older"},
    "celery_tasks": {"celery_tasks": "", "celery_tasks_5_4": "older"},
    "redis_py": {"redis_py": "", "redis_py_5": "older"},
    "redis_py_cluster": {"redis_py_cluster": "", "redis_py_5_cluster": "older"},
}

# What scenarios share.
SHARED = ("harness", "jobs", "cluster")


def scenarios(tools):
    """Names of all scenarios, their commands and what these find in their environment."""
    for path in sorted((HERE / "python").glob("*.py")):
        if path.stem not in SHARED:
            for name, folder in PYTHON_VERSIONS.get(path.stem, {path.stem: ""}).items():
                yield name, [str(tools / "venv/bin/python"), str(path)], {"PYTHONPATH": str(tools / folder) if folder else ""}
    for path in sorted((HERE / "node").glob("*.js")):
        if path.stem not in SHARED:
            for name, module in NODE_VERSIONS.get(path.stem, {path.stem: ""}).items():
                yield name, ["node", str(path)], {"PROGRAMS_MODULE": module, "NODE_PATH": str(tools / "node/node_modules")}


def known_failures(kind):
    """What is known to fail on a kind of node: patterns of checks, and words of their errors."""
    if kind == "redis":
        return []
    lines = [line for line in (HERE / "known.txt").read_text().splitlines() if line and not line.startswith("#")]
    rows = [[part.strip() for part in line.split(" | ")] for line in lines]
    return [(checks, words) for checks, nodes, words in rows if nodes == "all" or kind != "1-core"]


def run_scenario(command, environment, log, obey):
    """Runs a scenario and returns its checks: their names, and None or why they failed. What else it says goes to `log`.

    A line that begins with `order` is an order about the nodes; what `obey` answers is what the scenario reads.
    """
    results = []
    is_late = threading.Event()
    with open(log, "wb") as errors:
        # A session of its own: what it has started and not ended goes with it.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
            start_new_session=True,
        )

        def end_all():
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

        def too_late():
            is_late.set()
            end_all()

        timer = threading.Timer(SCENARIO_SECONDS, too_late)
        timer.start()
        try:
            for line in process.stdout:
                word, _, rest = line.rstrip("\n").partition(" ")
                if word == "ok":
                    results.append((rest, None))
                elif word == "failed":
                    name, _, why = rest.partition(": ")
                    results.append((name, why))
                elif word == "order":
                    answer(process, obey(rest))
            process.wait()
        finally:
            timer.cancel()
            end_all()
            process.wait()
    if is_late.is_set():
        results.append(("scenario", f"not done after {SCENARIO_SECONDS} s"))
    elif process.returncode and all(why is None for _, why in results):
        results.append(("scenario", f"it ended with {process.returncode}: {log.read_text(errors='replace')[-300:]}"))
    return results


def answer(process, words):
    try:
        process.stdin.write(f"{words}\n")
        process.stdin.flush()
    except BrokenPipeError:
        # It has ended, which its exit status tells.
        pass


class Report:
    """Prints how checks ended, and counts them."""

    def __init__(self):
        self.counts = {"ok": 0, "known": 0, "FAILED": 0}
        self.mended = []

    def tell(self, kind, check, why, known):
        """Tells of one check; `known` are words of the errors with which it is known to fail."""
        verdict = "ok" if why is None else "known" if any(some in why for some in known) else "FAILED"
        self.counts[verdict] += 1
        if why is None and known:
            self.mended.append(f"{check} on {kind}")
        print(f"{verdict:6} {kind:7} {check}" + (f": {why[:300]}" if why else ""), flush=True)

    def end(self):
        if not sum(self.counts.values()):
            raise SystemExit("no scenario and check have such names")
        print(f"{self.counts['ok']} passed, {self.counts['known']} failed as known, {self.counts['FAILED']} failed")
        if self.mended:
            print("these are in known.txt and pass: " + ", ".join(self.mended))


def kinds_of_nodes(arguments):
    """Names of the nodes to run against, and the commands that start them."""
    if arguments.against == "redis":
        return [("redis", ["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])]
    # Cores may exceed the processors of this machine.
    basalt = [arguments.basalt, "--pin", "no", "--memory", "1gb", "--cores"]
    return [(f"{cores}-core{'s' * (cores != '1')}", [*basalt, cores]) for cores in arguments.cores.split(",")]


def start(command, directory, against, is_cluster):
    """Starts a node, or several as a cluster, and waits until they serve."""
    if is_cluster:
        # A redis-server that was killed is missed after so many milliseconds; it is alone, where Basalt's nodes follow each other.
        own, replicas = (["--cluster-node-timeout", "5000"], 1) if against == "redis" else ([], None)
        return Cluster([*command, "--cluster-enabled", "yes", *own], directory, replicas)
    node = Node(command, directory, free_port())
    try:
        node.wait_ready()
    except BaseException:
        node.stop()
        raise
    return node


def run_kind(arguments, kind, command, is_cluster, root, report):
    """Runs scenarios against one kind of node, or against a cluster of such."""
    chosen = [
        one
        for one in scenarios(arguments.tools.absolute())
        if arguments.only in one[0] and one[0].endswith("_cluster") == is_cluster
    ]
    if not chosen:
        return
    known = known_failures(kind)
    servers = start(command, root / (f"{kind}-cluster" if is_cluster else kind), arguments.against, is_cluster)
    try:
        for name, scenario, variables in chosen:
            own = {
                "PROGRAMS_PORTS": ",".join(str(port) for port in servers.ports()),
                "PROGRAMS_AGAINST": arguments.against,
                "PYTHONDONTWRITEBYTECODE": "1",
                "TMPDIR": str(root / "tmp"),
            }
            log = root / f"{kind}-{name}.log"
            results = run_scenario([*scenario, *arguments.check], os.environ | own | variables, log, servers.obey)
            for check, why in results:
                check = f"{name}.{check}"
                words = [words for checks, words in known if fnmatch.fnmatchcase(check, checks)]
                report.tell(kind, check, why, words)
            servers.mend()
    finally:
        servers.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", type=pathlib.Path, required=True, help="folder into which install.sh has put the libraries")
    parser.add_argument("--against", choices=["basalt", "redis"], default="basalt")
    parser.add_argument("--basalt", default="basalt", help="the binary")
    parser.add_argument("--cores", default="1,2,4", help="nodes with so many cores for each of these")
    parser.add_argument("--only", default="", help="scenarios whose names contain this")
    parser.add_argument("--check", default=[], nargs="*", help="checks whose names contain one of these")
    arguments = parser.parse_args()
    # Ends what was started on SIGTERM too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    report = Report()
    root = pathlib.Path(tempfile.mkdtemp(prefix="basalt-programs-"))
    (root / "tmp").mkdir()
    for kind, command in kinds_of_nodes(arguments):
        for is_cluster in (False, True):
            run_kind(arguments, kind, command, is_cluster, root, report)
    report.end()
    if report.counts["FAILED"]:
        print(f"what the scenarios and the nodes said is in {root}")
        return 1
    shutil.rmtree(root)
    return 0


if __name__ == "__main__":
    sys.exit(main())
