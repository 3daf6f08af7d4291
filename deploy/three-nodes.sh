#!/usr/bin/env bash
# Runs three nodes on this machine as one cluster, to try it: each key is on all three. Ctrl-C stops them in order; a second run
# goes on with what is there.
#
#   deploy/three-nodes.sh [BASALT] [DIRECTORY] [FIRST-PORT]
#
# The nodes listen on FIRST-PORT (7001) and the two after it, for each other on these and 10000 (`cluster-port`).
set -euo pipefail

basalt=${1:-basalt}
directory=${2:-basalt-cluster}
first=${3:-7001}
command -v "$basalt" >/dev/null || { echo "three-nodes: there is no $basalt; build it with \`make build\`" >&2; exit 1; }
command -v redis-cli >/dev/null || { echo 'three-nodes: redis-cli is missing (Debian: redis-tools)' >&2; exit 1; }

pids=()
addresses=()
# Each gives the groups that it leads to others first, as long as there are two.
stop() {
  trap - EXIT INT TERM
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait
}
trap stop EXIT
trap 'exit 0' INT TERM

mkdir -p "$directory"
for port in $first $((first + 1)) $((first + 2)); do
  "$basalt" --cluster-enabled yes --port "$port" --dir "$directory/$port" 2>"$directory/$port.log" &
  pids+=($!)
  addresses+=("127.0.0.1:$port")
done

# Waits until a node says what is wanted; a node that has ended says why in its log.
await() {
  local port=$1 wanted=$2
  shift 2
  until redis-cli -p "$port" "$@" 2>/dev/null | tr -d '\r' | grep -q "$wanted"; do
    for pid in "${pids[@]}"; do
      kill -0 "$pid" 2>/dev/null || { tail -n 3 "$directory"/*.log >&2; exit 1; }
    done
    sleep 0.1
  done
}

for address in "${addresses[@]}"; do await "${address##*:}" '^loading:0$' INFO persistence; done
# Nodes that are a cluster know each other.
if redis-cli -p "$first" CLUSTER INFO | tr -d '\r' | grep -q '^cluster_known_nodes:1$'; then
  redis-cli --cluster create "${addresses[@]}" --cluster-yes >"$directory/create.log" || { cat "$directory/create.log" >&2; exit 1; }
fi
for address in "${addresses[@]}"; do await "${address##*:}" '^cluster_state:ok$' CLUSTER INFO; done
echo "three nodes are a cluster: redis-cli -c -p $first; their logs are in $directory; Ctrl-C stops them"
wait
