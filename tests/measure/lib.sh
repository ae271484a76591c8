# Sourced by the scripts of this folder: brokers on one core, the load on another.
#
# BROKER_CPUS   cores of the broker (default 0)
# LOAD_CPUS     cores of the load (default 1)
# and what tests/clients/lib.sh lists
. "$(dirname "${BASH_SOURCE[0]}")/../clients/lib.sh"
broker_cpus=${BROKER_CPUS:-0}
load_cpus=${LOAD_CPUS:-1}
area=$work/measure
mkdir -p "$area"

# Kafka's own start script runs it on this collector; one core would make Java choose another.
kafka_java=-XX:+UseG1GC

# load_binary: sets $load, built first.
load_binary() {
  cargo build --release --locked --quiet --manifest-path "$repo/Cargo.toml" -p net --example load
  load=${CARGO_TARGET_DIR:-$repo/target}/release/examples/load
}

# harness_binary: sets $harness, built first where HARNESS_BIN does not name one.
harness_binary() {
  harness=${HARNESS_BIN:-}
  [ -n "$harness" ] && return
  cargo build --release --locked --quiet --manifest-path "$repo/Cargo.toml" -p bench-harness
  harness=${CARGO_TARGET_DIR:-$repo/target}/release/bench-harness
}

# results DIR: sets $out, where raw results are kept.
results() {
  mkdir -p "$1"
  out=$(cd "$1" && pwd)
}

# descriptors COUNT: raises the limit of what is started from here on.
descriptors() {
  local hard
  hard=$(ulimit -Hn)
  if [ "$hard" != unlimited ] && [ "$hard" -lt "$1" ]; then
    say "$1 descriptors are needed and $hard are allowed: raise the hard limit (ulimit -Hn), or" \
      "take fewer connections and partitions"
    return 1
  fi
  ulimit -n "$hard"
}

# fresh [OPTION...]: ringlog on an empty folder; sets $port and $broker.
fresh() {
  rm -rf "${area:?}/data"
  port=$(free_port)
  as_broker ringlog_start "$area/data" "$port" "$@"
}

# measured NAME OPTION...: one run of bench-harness against $broker, kept in $out/NAME.json. A run
# that is not valid is kept too, and says why itself.
measured() {
  local name=$1
  shift
  rm -f "$out/$name.json"
  "$harness" run --bootstrap "127.0.0.1:$port" --pid "$broker" --cores "$load_cpus" \
    --no-headroom --json "$out/$name.json" "$@" > "$out/$name.txt" 2>&1 || {
      say "$name is not valid, see $out/$name.txt"
      [ -e "$out/$name.json" ]
    }
}

# figures: Python with what figures.py has; the program is on standard input.
figures() { PYTHONPATH=$repo/tests/measure PYTHONDONTWRITEBYTECODE=1 python3 - "$@"; }

# under_load COMMAND...: on the cores of the load.
under_load() { taskset -c "$load_cpus" "$@"; }

# as_broker COMMAND...: whatever it starts has the cores of the broker.
as_broker() {
  local mask
  mask=$(taskset -p $BASHPID | sed 's/.*: //')
  taskset -p -c "$broker_cpus" $BASHPID > /dev/null
  "$@"
  taskset -p "$mask" $BASHPID > /dev/null
}

# cpu_seconds PID: what all threads have used so far.
cpu_seconds() { awk '{ sub(/.*\) /, ""); print ($12 + $13) / 100 }' "/proc/$1/stat"; }

# memory_of PID: resident, proportional and huge-page memory in MiB. Pages of hugetlbfs are in none
# of the kernel's sums, so they are added.
memory_of() {
  awk '
    /^Rss:/ { rss = $2 } /^Pss:/ { pss = $2 }
    /^(AnonHugePages|ShmemPmdMapped|FilePmdMapped):/ { huge += $2 }
    /^(Shared|Private)_Hugetlb:/ { hugetlb += $2 }
    END {
      printf "rss_mib=%.0f pss_mib=%.0f huge_mib=%.0f\n", (rss + hugetlb) / 1024,
        (pss + hugetlb) / 1024, (huge + hugetlb) / 1024
    }' "/proc/$1/smaps_rollup"
}

# machine: the surroundings of a measurement, one line.
machine() {
  local average
  read -r average _ < /proc/loadavg
  echo "$(nproc) cores, Linux $(uname -r), load average before the run $average"
}

# value KEY FILE: the value of the last KEY=VALUE in a file.
value() { { grep -oE "(^| )$1=[^ ]+" "$2" || true; } | tail -1 | cut -d= -f2; }
