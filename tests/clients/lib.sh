# Sourced by the scripts of this folder: what they install and how they start brokers.
#
# CLIENTS_WORK  work folder (default: .work beside this file)
# RINGLOG_BIN   broker binary (default: target/release/ringlog, built first)
# BOOTSTRAP     host:port of a running broker, used instead of starting one
set -euo pipefail
clients=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$clients/../.." && pwd)
work=${CLIENTS_WORK:-$clients/.work}
mkdir -p "$work"
brokers=() # process ids of the brokers that this script started

say() { echo "$*" >&2; }

# need COMMAND PACKAGE: a command of the system, installed by apt where it is missing.
need() {
  command -v "$1" > /dev/null && return
  local sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo -n)
  say "installing $2"
  "${sudo[@]}" apt-get update -qq
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" > /dev/null
}

need_java() {
  need javac default-jdk-headless
  need mvn maven
}

# jars POM FOLDER [OPTION...]: the jars that a pom names, copied into a folder of the work folder.
jars() {
  local pom=$1 folder=$work/$2
  shift 2
  [ -e "$folder/.complete" ] && return
  say "fetching $(basename "$folder")"
  rm -rf "$folder"
  mvn -q -B -f "$pom" "$@" dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$folder" >&2
  touch "$folder/.complete"
}

# python_env FOLDER REQUIREMENT...: a virtual environment in the work folder.
python_env() {
  local folder=$work/$1
  shift
  [ -e "$folder/.complete" ] && return
  say "installing $*"
  rm -rf "$folder"
  need python3 python3-venv
  python3 -m venv "$folder" || { need python3-venv python3-venv; python3 -m venv "$folder"; }
  "$folder/bin/pip" -q install "$@" >&2
  touch "$folder/.complete"
}

# node_packages FOLDER PACKAGE_JSON: what a package.json names, in the work folder.
node_packages() {
  local folder=$work/$1
  cmp -s "$2" "$folder/package.json" && [ -e "$folder/.complete" ] && return
  need node nodejs
  need npm npm
  say "installing $1"
  rm -rf "$folder"
  mkdir -p "$folder"
  cp "$2" "$folder/"
  npm --prefix "$folder" install --silent --no-audit --no-fund --no-package-lock >&2
  touch "$folder/.complete"
}

# free_port: a port that is free, its successor too, below the range the kernel gives to clients.
free_port() {
  python3 -c 'import random, socket
while True:
    port = random.randrange(20000, 32000, 2)
    try:
        for number in (port, port + 1):
            with socket.socket() as s:
                s.bind(("127.0.0.1", number))
    except OSError:
        continue
    print(port)
    break'
}

# ringlog_binary: sets RINGLOG_BIN, building the broker where it is not given.
ringlog_binary() {
  [ -n "${RINGLOG_BIN:-}" ] && return
  cargo build --release --locked --quiet --manifest-path "$repo/Cargo.toml"
  RINGLOG_BIN=${CARGO_TARGET_DIR:-$repo/target}/release/ringlog
  export RINGLOG_BIN
}

# ringlog_start DATA PORT [OPTION...]: starts the broker and waits until it listens; sets $broker.
ringlog_start() {
  local data=$1 port=$2
  shift 2
  mkdir -p "$data"
  : > "$data.out" # for whoever reads it before the broker has begun
  "$RINGLOG_BIN" serve --data-dir "$data" --listen "127.0.0.1:$port" "$@" \
    > "$data.out" 2>&1 < /dev/null &
  broker=$!
  brokers+=("$broker")
  for _ in $(seq 600); do
    grep -q 'listening on' "$data.out" && return
    kill -0 "$broker" 2> /dev/null || break
    sleep 0.1
  done
  say "ringlog did not start:"
  tail -20 "$data.out" >&2
  return 1
}

# kafka_start DATA PORT [KEY=VALUE...]: Apache Kafka 4.2.0 on an empty folder, waits until it
# listens; sets $broker.
kafka_start() {
  kafka_prepare "$@"
  kafka_launch "$1"
  for _ in $(seq 240); do
    (exec 3<> "/dev/tcp/127.0.0.1/$2") 2> /dev/null && return
    kill -0 "$broker" 2> /dev/null || break
    sleep 0.5
  done
  say "Apache Kafka did not start: see $1.out"
  return 1
}

# kafka_prepare DATA PORT [KEY=VALUE...]: settings and an empty, formatted folder.
kafka_prepare() {
  local data=$1 port=$2 setting
  shift 2
  rm -rf "$data"
  mkdir -p "$data"
  {
    cat << PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.dirs=$data/log
PROPERTIES
    for setting in "$@"; do echo "$setting"; done
  } > "$data/server.properties"
  local class_path="$work/kafka-jars/*"
  java -cp "$class_path" kafka.tools.StorageTool format -c "$data/server.properties" \
    -t "$(java -cp "$class_path" kafka.tools.StorageTool random-uuid)" > /dev/null
}

# kafka_launch DATA: Apache Kafka on a prepared or used folder; sets $broker.
kafka_launch() {
  java -Xms512m -Xmx1g -cp "$work/kafka-jars/*" kafka.Kafka "$1/server.properties" \
    > "$1.out" 2>&1 < /dev/null &
  broker=$!
  brokers+=("$broker")
}

# broker_stop PID SIGNAL: sends the signal and waits for the end.
broker_stop() {
  kill "-$2" "$1" 2> /dev/null || return 0
  wait "$1" 2> /dev/null || true
}

brokers_end() {
  local pid
  for pid in "${brokers[@]}"; do broker_stop "$pid" KILL; done
}
trap brokers_end EXIT
