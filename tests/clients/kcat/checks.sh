#!/usr/bin/env bash
# What kcat does, with the librdkafka of the distribution: checks.sh BOOTSTRAP [BEGINNING].
# kcat makes no topics but by sending to them, so they are made by RINGLOG_BIN's own command.
set -uo pipefail
bootstrap=$1
only=${2:-}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failed=0

kc() { timeout 120 kcat -b "$bootstrap" -X topic.metadata.refresh.interval.ms=1000 "$@"; }

create() { # TOPIC PARTITIONS [KEY=VALUE]
  "$RINGLOG_BIN" topic create "$1" -p "$2" ${3:+-s "$3"} -b "$bootstrap" > /dev/null
}

# check NAME COMMAND...: the command tells on its standard output what is wrong, and fails.
check() {
  local name=$1 said
  shift
  [[ $name == "$only"* ]] || return 0
  echo "--- $name" >&2 # where its part of the log begins
  if said=$("$@" 2> errors); then
    printf '%s\tok\n' "$name"
  else
    failed=1
    cat errors >&2
    said="$said $(grep -v '^%' errors | tail -2)"
    printf '%s\tFAILED: %s\n' "$name" "$(echo "$said" | tr -s '\n\t ' ' ')"
  fi
}

# same EXPECTED_FILE GOT_FILE WHAT
same() {
  cmp -s "$1" "$2" && return
  echo "$3: first difference: $(diff "$1" "$2" | sed -n 2,3p | cut -c 1-200)"
  return 1
}

# equal EXPECTED GOT WHAT
equal() {
  [ "$1" = "$2" ] && return
  echo "$3: expected ${1:0:200}, got ${2:0:200}"
  return 1
}

samples() { # COUNT: key, tab, value
  seq 0 $(($1 - 1)) | awk '{ x = sprintf("%" $1 % 200 "s", ""); gsub(/ /, "x", x)
    print "key-" $1 "\tvalue-" $1 "-" x }'
}

produce() { # CODEC ACKS COUNT [OPTION...]: round trip with keys and one header
  local topic=produce-$1-$2-$3 codec=$1 acks=$2 count=$3
  shift 3
  create "$topic" 1 || return
  samples "$count" > sent
  kc -P -t "$topic" -p 0 -K '\t' -H name=header -z "$codec" -X acks="$acks" -X linger.ms=5 \
    -X batch.size=4096 "$@" < sent || { echo "the producer failed"; return 1; }
  awk '{ print NR - 1 "\tname=header\t" $0 }' sent > expected
  kc -C -t "$topic" -p 0 -o beginning -c "$count" -e -q -X check.crcs=true \
    -f '%o\t%h\t%k\t%s\n' > got || { echo "the consumer failed"; return 1; }
  same expected got "what came back"
  equal "" "$(kc -C -t "$topic" -p 0 -o "$count" -e -q)" "after the last record"
}

list() {
  create listed 3 || return
  kc -L -J > all || { echo "no metadata"; return 1; }
  equal '[0,1,2]' "$(python3 -c '
import json
print(str([p["partition"] for t in json.load(open("all"))["topics"] if t["topic"] == "listed"
           for p in t["partitions"]]).replace(" ", ""))')" partitions
}

seek() {
  create seek 1 || return
  local first time
  samples 250 | kc -P -t seek -p 0 -K '\t' -X batch.size=2000 -X linger.ms=5 || return
  sleep 1.1 # kcat stamps with the present: the second half has to be later
  samples 500 | tail -250 | kc -P -t seek -p 0 -K '\t' -X batch.size=2000 -X linger.ms=5 || return
  samples 500 > sent
  kc -C -t seek -p 0 -o beginning -e -q -K '\t' > got && same sent got beginning || return
  kc -C -t seek -p 0 -o 42 -e -q -K '\t' > got && same <(tail -n +43 sent) got "offset 42" || return
  kc -C -t seek -p 0 -o -5 -e -q -K '\t' > got && same <(tail -5 sent) got "the last five" || return
  time=$(kc -C -t seek -p 0 -o 250 -c 1 -q -f '%T') || return
  kc -C -t seek -p 0 -o "s@$time" -e -q -K '\t' > got && same <(tail -250 sent) got "time" || return
  first=$(kc -C -t seek -p 0 -o beginning -c 1 -q -f '%T') || return
  equal 'seek [0] offset 0' "$(kc -Q -t "seek:0:$first")" "query for the first time" || return
  equal 'seek [0] offset 250' "$(kc -Q -t "seek:0:$((time - 500))")" "query between" || return
  equal 'seek [0] offset -1' "$(kc -Q -t "seek:0:$((time + 1000000))")" "query after all" || return
  equal 'seek [0] offset 500' "$(kc -Q -t seek:0:-1)" "query for the end" || return
  equal 'seek [0] offset 0' "$(kc -Q -t seek:0:-2)" "query for the beginning" || return
  kc -C -t seek -p 0 -o end -c 1 -q -K '\t' > got &
  local reader=$!
  for _ in $(seq 60); do # until the reader has found the end, and sees one of these
    kill -0 "$reader" 2> /dev/null || break
    echo "last	one" | kc -P -t seek -p 0 -K '\t'
    sleep 0.5
  done
  wait "$reader" && equal "last	one" "$(cat got)" "from the end"
}

group() {
  create grouped 4 || return
  samples 400 > sent
  kc -P -t grouped -K '\t' < sent || return
  kc -G the-group -X auto.offset.reset=earliest -q -e -K '\t' grouped > got || return
  same <(sort sent) <(sort got) "first run" || return
  samples 500 | tail -100 > more
  kc -P -t grouped -K '\t' < more || return
  kc -G the-group -X auto.offset.reset=earliest -q -e -K '\t' grouped > got || return
  same <(sort more) <(sort got) "second run, from where the first had committed"
}

auto_create() {
  echo first | kc -P -t made-by-send -p 0 || return
  equal first "$(kc -C -t made-by-send -p 0 -o beginning -e -q)" value
}

large() { # TOPIC SIZE [SETTING]
  create "$1" 1 ${3:+"$3"} || return
  local i
  for i in 1 2 3; do head -c "$2" /dev/urandom > "large.$i"; done
  kc -P -t "$1" -p 0 -X message.max.bytes=20000000 large.1 large.2 large.3 || return
  for i in 1 2 3; do
    kc -C -t "$1" -p 0 -o $((i - 1)) -c 1 -q -D '' > got || return
    same "large.$i" got "file $i" || return
  done
}

too_large() {
  create too-large 1 || return
  head -c 2097152 /dev/zero | tr '\0' z > big
  if kc -P -t too-large -p 0 -X message.max.bytes=20000000 big 2> refusal; then
    echo "2 MiB were accepted"
    return 1
  fi
  grep -q 'Message size too large' refusal || { echo "refused with $(cat refusal)"; return 1; }
  echo small | kc -P -t too-large -p 0 || return
  equal small "$(kc -C -t too-large -p 0 -o beginning -e -q)" value
}

wide() {
  create wide 1000 || return
  local i
  samples 20000 > sent
  kc -P -t wide -K '\t' -X linger.ms=100 -X partitioner=random < sent || return
  kc -C -t wide -o beginning -e -q -f '%p\t%o\t%k\t%s\n' > got || return
  same <(sort sent) <(cut -f 3- got | sort) "all records" || return
  equal 1000 "$(cut -f 1 got | sort -u | wc -l)" "partitions with records" || return
  awk -F '\t' '$2 != next_[$1]++ { print "partition " $1 " gave offset " $2; exit 1 }' got
}

for codec in none gzip snappy lz4 zstd; do
  for acks in 0 1 all; do check "produce $codec acks=$acks" produce "$codec" "$acks" 500; done
  check "idempotent $codec" produce "$codec" all 3000 -X enable.idempotence=true
done
check "metadata" list
check "seek" seek
check "group resumes" group
check "auto-create" auto_create
check "large 900 KiB" large large-900k 921600
check "large 10 MiB" large large-10m 10485760 max.message.bytes=11534336
check "too large" too_large
check "1000 partitions" wide
exit $failed
