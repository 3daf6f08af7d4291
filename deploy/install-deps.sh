#!/usr/bin/env bash
# Installs the Debian packages that Basalt needs and that are missing, with apt-get; says what and why, and where it cannot
# install names what is missing.
#
#   deploy/install-deps.sh          everything
#   deploy/install-deps.sh --build  only what compiling needs
#   deploy/install-deps.sh --test   what compiling and `make test` need
set -euo pipefail

# level  command or file that shows it is there  package  why
needs='
build  git                     git              cargo fetches sources with it
build  make                    make             runs the Makefile
build  c++                     g++              compiles RocksDB
build  clang                   clang            bindgen reads the headers of RocksDB
build  libclang                libclang-dev     bindgen reads the headers of RocksDB
build  pkg-config              pkg-config       build scripts look for libraries with it
faster ccache                  ccache           a second build of RocksDB takes seconds instead of minutes
test   redis-benchmark         redis-tools      tests drive the node with redis-cli and redis-benchmark
test   redis-server            redis-server     tests and benches compare with it
test   ip                      iproute2         tests cut links between nodes
bench  etcd                    etcd-server      cluster benches compare with it
'

level=${1:---all}
case $level in
  --build) wanted='build faster' ;;
  --test) wanted='build faster test' ;;
  --all) wanted='build faster test bench' ;;
  *) echo "usage: $0 [--build|--test]" >&2; exit 2 ;;
esac

is_there() {
  case $1 in
    libclang) compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || compgen -G '/usr/lib/*/libclang*.so*' >/dev/null ;;
    *) command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ] ;;
  esac
}

missing=()
required=()
while read -r for_level probe package why; do
  [ -n "$for_level" ] || continue
  case " $wanted " in *" $for_level "*) ;; *) continue ;; esac
  is_there "$probe" && continue
  echo "missing: $package ($why)"
  missing+=("$package")
  case $for_level in build | test) required+=("$package") ;; esac
done <<<"$needs"

cannot() {
  echo "install-deps: $1; install these packages yourself: ${missing[*]}" >&2
  # Without ccache and what only benches need, everybody can build and test.
  [ ${#required[@]} -eq 0 ]
}

install_missing() {
  command -v apt-get >/dev/null || { cannot 'there is no apt-get here'; return; }
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { cannot 'this user is not root and there is no sudo'; return; }
    sudo -n true 2>/dev/null || [ -t 0 ] || { cannot 'sudo asks for a password and there is no terminal'; return; }
    as_root=(sudo)
  fi
  # Debian starts a server when it installs one, unless a policy says no (101). Tests and benches start their own.
  local policy=/usr/sbin/policy-rc.d wrote_policy=no
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
    "${as_root[@]}" chmod +x $policy
    wrote_policy=yes
  fi
  echo "installing: ${missing[*]}"
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y) installed=yes
  "${apt[@]}" update || echo 'install-deps: apt-get update failed; trying with the package lists that are here' >&2
  "${apt[@]}" install --no-install-recommends "${missing[@]}" || installed=no
  [ $wrote_policy = no ] || "${as_root[@]}" rm -f $policy
  [ $installed = yes ] || cannot 'apt-get could not install them'
}

if [ ${#missing[@]} -gt 0 ]; then
  install_missing
fi

PATH=$PATH:$HOME/.cargo/bin
if ! command -v cargo >/dev/null || ! command -v rustfmt >/dev/null || ! command -v cargo-clippy >/dev/null; then
  echo 'install-deps: Rust 1.95 or newer with rustfmt and clippy is missing; Debian'"'"'s is too old, get it from https://rustup.rs:' >&2
  echo "  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default" >&2
  exit 1
fi
