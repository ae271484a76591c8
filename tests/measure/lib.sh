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
