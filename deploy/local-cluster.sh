#!/usr/bin/env bash
# A cluster on one machine: three etcd members, a conductor, three supervisors, on loopback ports.
#
#   deploy/local-cluster.sh up      builds, starts what does not run, waits until all is there
#   deploy/local-cluster.sh status  what runs
#   deploy/local-cluster.sh down    stops everything and keeps the data
#   deploy/local-cluster.sh clean   the same, and deletes the data
#
# Everything is below $RAMA_LOCAL (default ./rama-local). Without certificates: loopback only.
set -euo pipefail
cd "$(dirname "$0")/.."

home="${RAMA_LOCAL:-$PWD/rama-local}"
rama="${RAMA_BINARY:-$PWD/target/release/rama}"
members=(1 2 3)
nodes=(1 2 3)

need() { # command, Debian package
    command -v "$1" >/dev/null 2>&1 && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "local-cluster: installing $2 (for $1)"
        [ -n "${apt_updated:-}" ] || { apt-get update -qq && apt_updated=1; }
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" >/dev/null
    else
        echo "local-cluster: $1 is missing; install it first, on Debian: sudo apt-get install $2" >&2
        exit 2
    fi
}

build() {
    [ -n "${RAMA_BINARY:-}" ] && return
    need protoc protobuf-compiler
    [ -e /usr/include/google/protobuf/descriptor.proto ] || need descriptor.proto libprotobuf-dev
    cargo build --release --locked -p rama-cli -p word_count -p bank \
        --features rama-cli/etcd,word_count/etcd,bank/etcd
}

alive() { # name
    # One that ended and that nobody waited for does not run.
    [ -f "$home/$1.pid" ] && grep -qs '^State:[[:space:]]*[RSDTtIKWP]' "/proc/$(cat "$home/$1.pid")/status"
}

start() { # name, command…
    local name="$1"
    shift
    alive "$name" && return
    # A group of its own: Ctrl-C here ends nothing there.
    setsid "$@" >>"$home/$name.log" 2>&1 </dev/null &
    echo $! >"$home/$name.pid"
}

stop() { # name
    alive "$1" || return 0
    local pid
    pid="$(cat "$home/$1.pid")"
    kill "$pid"
    for _ in $(seq 100); do
        alive "$1" || break
        sleep 0.1
    done
    rm -f "$home/$1.pid"
}

settings() {
    cat >"$home/rama.toml" <<TOML
[conductor]
host = "127.0.0.1"
[security]
insecure = true
[metastore]
endpoints = "http://127.0.0.1:12379,http://127.0.0.1:22379,http://127.0.0.1:32379"
TOML
}

up() {
    need etcd etcd-server
    build
    mkdir -p "$home"
    settings
    local peers="m1=http://127.0.0.1:12380,m2=http://127.0.0.1:22380,m3=http://127.0.0.1:32380"
    for m in "${members[@]}"; do
        start "etcd-$m" etcd --name "m$m" --data-dir "$home/etcd-$m" \
            --listen-client-urls "http://127.0.0.1:${m}2379" \
            --advertise-client-urls "http://127.0.0.1:${m}2379" \
            --listen-peer-urls "http://127.0.0.1:${m}2380" \
            --initial-advertise-peer-urls "http://127.0.0.1:${m}2380" \
            --initial-cluster "$peers" --initial-cluster-state new --log-level warn \
            --auto-compaction-retention 1
    done
    export RAMA_CONFIG="$home/rama.toml"
    RAMA_NODE__DIR="$home/conductor" start conductor "$rama" conductor
    for n in "${nodes[@]}"; do
        # On one machine each has ports of its own, and none has the cores for itself.
        RAMA_NODE__DIR="$home/node-$n" RAMA_SUPERVISOR__PORT="300$n" \
            RAMA_SUPERVISOR__PORT_RANGE="3${n}00,3${n}99" RAMA_WORKER__RESOURCES__PIN_CORES=false \
            RAMA_SUPERVISOR__HTTP_PORT="301$n" start "supervisor-$n" "$rama" supervisor
    done
    wait_for_all
    cat <<TEXT

A cluster runs: conductor on 127.0.0.1 (QUIC 1973, HTTP 8888), supervisors on HTTP 3011, 3012, 3013.
  export RAMA_CONFIG=$RAMA_CONFIG
  $rama deploy --action launch --binary target/release/word_count --module WordCount --tasks 8 --threads 4 --workers 2
  $rama append WordCount/lines '"hello world"'
  $rama select WordCount/exact_counts '["hello"]' --one
  $rama moduleStatus WordCount
  deploy/local-cluster.sh down
TEXT
}

wait_for_all() {
    for _ in $(seq 300); do
        local count
        count="$("$rama" supervisors --timeout 2s --output json 2>/dev/null | grep -c '"id"' || true)"
        [ "$count" = "${#nodes[@]}" ] && return
        sleep 0.1
    done
    echo "local-cluster: not all supervisors came up; see $home/*.log" >&2
    exit 1
}

status() {
    for name in etcd-1 etcd-2 etcd-3 conductor supervisor-1 supervisor-2 supervisor-3; do
        if alive "$name"; then echo "$name runs (pid $(cat "$home/$name.pid"))"; else echo "$name is down"; fi
    done
}

# Workers live on without their supervisor; down ends them, too.
workers() {
    local pid
    for pid in $(grep -rhoE '"pid": *[0-9]+' "$home"/node-*/supervisor/workers/*/*/slot.json 2>/dev/null | grep -oE '[0-9]+'); do
        if tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | grep -q '^RAMA_SLOT='; then echo "$pid"; fi
    done
}

down() {
    for n in "${nodes[@]}"; do stop "supervisor-$n"; done
    local pids
    pids="$(workers)"
    [ -n "$pids" ] && kill $pids 2>/dev/null
    for pid in $pids; do
        for _ in $(seq 200); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.1
        done
    done
    stop conductor
    for m in "${members[@]}"; do stop "etcd-$m"; done
}

case "${1:-}" in
up) up ;;
down) down ;;
clean)
    down
    rm -rf "$home"
    ;;
status) status ;;
*)
    sed -n '2,9p' "$0" | sed 's/^# \{0,1\}//'
    exit 2
    ;;
esac
