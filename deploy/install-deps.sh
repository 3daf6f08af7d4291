#!/usr/bin/env bash
# Installs what building and testing Basalt need and what is missing: Debian packages with apt-get, Rust with rustup. Says what
# and why; where it cannot install, it names what is missing. Says and does nothing when all is there: `make` calls it each time.
#
#   deploy/install-deps.sh          everything
#   deploy/install-deps.sh --build  only what compiling needs
#   deploy/install-deps.sh --test   what compiling and `make test` need
#   deploy/install-deps.sh --bench  that, and what `make bench-cluster` compares with
#   deploy/install-deps.sh --quick  that, and what makes a build from nothing fast; --ci is the same
set -euo pipefail

# level  command or file that shows it is there  package  why
needs='
build  git                     git              cargo fetches sources with it
build  make                    make             runs the Makefile
build  c++                     g++              compiles RocksDB
build  clang                   clang            bindgen reads the headers of RocksDB
build  libclang                libclang-dev     bindgen reads the headers of RocksDB
build  pkg-config              pkg-config       build scripts look for libraries with it
rust   curl                    curl             fetches Rust
rust   certificates            ca-certificates  fetches Rust
test   redis-benchmark         redis-tools      tests drive the node with redis-cli and redis-benchmark
test   redis-server            redis-server     tests and benches compare with it
bench  etcd                    etcd-server      bench-cluster compares with it
quick  ccache                  ccache           a second build of RocksDB takes seconds instead of minutes
'
# Keep in step with rust-version in Cargo.toml.
rust_minor=95

level=${1:---all}
case $level in
  --build) wanted='build' ;;
  --test) wanted='build test' ;;
  --bench) wanted='build test bench' ;;
  --quick | --ci) wanted='build test quick' ;;
  --all) wanted='build test bench quick' ;;
  *) echo "usage: $0 [--build|--test|--bench|--quick|--ci]" >&2; exit 2 ;;
esac

# rustup puts cargo here, and a shell that is older than it does not know.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin

is_there() {
  case $1 in
    libclang) compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null || compgen -G '/usr/lib/*/libclang*.so*' >/dev/null ;;
    certificates) [ -e /etc/ssl/certs/ca-certificates.crt ] ;;
    *) command -v "$1" >/dev/null || [ -x "/usr/sbin/$1" ] || [ -x "/sbin/$1" ] ;;
  esac
}

# Whether cargo is there with all that `make test` runs, and new enough.
rust_is_there() {
  local version
  command -v rustfmt >/dev/null && command -v cargo-clippy >/dev/null && version=$(rustc --version 2>/dev/null) || return 1
  [[ $version =~ ^rustc\ ([0-9]+)\.([0-9]+) ]] || return 1
  [ "${BASH_REMATCH[1]}" -gt 1 ] || [ "${BASH_REMATCH[2]}" -ge $rust_minor ]
}

rust_is_there || wanted+=' rust'

missing=()
required=()
while read -r for_level probe package why; do
  [ -n "$for_level" ] || continue
  case " $wanted " in *" $for_level "*) ;; *) continue ;; esac
  is_there "$probe" && continue
  echo "missing: $package ($why)"
  missing+=("$package")
  case $for_level in build | test | bench) required+=("$package") ;; esac
done <<<"$needs"

cannot() {
  echo "install-deps: $1; install these packages yourself: ${missing[*]}" >&2
  # Without ccache everybody can build and test.
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

install_rust() {
  local by_hand='get it from https://rustup.rs: rustup toolchain install stable --profile default'
  echo "missing: Rust 1.$rust_minor or newer with rustfmt and clippy (Debian's is older)"
  if command -v rustup >/dev/null; then
    echo 'installing: the stable toolchain, with rustup'
    rustup toolchain install stable --profile default --no-self-update || echo 'install-deps: rustup failed' >&2
    # What the user has chosen over rust-toolchain.toml stays.
    rust_is_there || echo 'install-deps: RUSTUP_TOOLCHAIN or a rustup override makes another one the one that is used' >&2
  elif command -v curl >/dev/null; then
    echo "installing: rustup from https://sh.rustup.rs into ${CARGO_HOME:-$HOME/.cargo} and ${RUSTUP_HOME:-$HOME/.rustup}"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
      sh -s -- -y --quiet --profile default --no-modify-path || echo 'install-deps: rustup could not be installed' >&2
    # A shell remembers where it did not find a program.
    hash -r
  fi
  rust_is_there || { echo "install-deps: Rust 1.$rust_minor or newer is missing; $by_hand" >&2; return 1; }
}

if [ ${#missing[@]} -gt 0 ]; then
  install_missing
fi
rust_is_there || install_rust
