#!/usr/bin/env bash
# Installs the libraries that run.py runs, with pip and npm, into one folder and nowhere else. Does nothing if they are there.
#
#   tests/programs/install.sh FOLDER
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?usage: install.sh FOLDER}
for tool in python3 node npm; do
  command -v "$tool" >/dev/null || { echo "install: $tool is missing (Debian: python3-venv, nodejs, npm)" >&2; exit 1; }
done

wanted=$(cd "$here" && sha256sum requirements.txt requirements-older.txt package.json)
[ "$(cat "$folder/installed" 2>/dev/null)" != "$wanted" ] || exit 0

rm -rf "$folder"
(umask 077 && mkdir -p "$folder/node")
folder=$(cd "$folder" && pwd)
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
"$folder/venv/bin/pip" install --quiet --target "$folder/older" --requirement "$here/requirements-older.txt"
cp "$here/package.json" "$folder/node/"
npm install --prefix "$folder/node" --no-audit --no-fund --loglevel error
echo "$wanted" >"$folder/installed"
