"""Runs checks and prints a line for each: its name, a tab, and `ok` or `FAILED: what happened`."""

import os
import sys
import time
import traceback

PATIENCE = 120  # seconds; only what hangs meets it
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
TIME = 1_700_000_000_000  # of the first record; each further one is a second later


class Report:
    def __init__(self, only):
        self.only = only
        self.failed = False

    def check(self, name, body, *arguments):
        if not name.startswith(self.only):
            return
        print(f"--- {name}", file=sys.stderr, flush=True)  # where its part of the log begins
        try:
            body(*arguments)
            verdict = "ok"
        except Exception as e:  # whatever it is, it is this check's failure
            self.failed = True
            kind = "" if isinstance(e, AssertionError) else type(e).__name__ + ": "
            verdict = "FAILED: " + " ".join((kind + str(e)).split())
            traceback.print_exc()
        print(f"{name}\t{verdict}", flush=True)


def same(expected, got, what):
    if expected != got:
        raise AssertionError(f"{what}: expected {str(expected)[:300]}, got {str(got)[:300]}")


def fails(errors, what, body, *arguments, **named):
    """The body must raise one of these errors; gives it back."""
    try:
        got = body(*arguments, **named)
    except errors as e:
        return e
    raise AssertionError(f"{what}: expected an error, but it went well: {got}")


def until(what, condition, patience=PATIENCE):
    """Waits until the condition gives something true, and gives that back."""
    end = time.monotonic() + patience
    while True:
        got = condition()
        if got:
            return got
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def sample(i):
    """What record i consists of: key, value (never both null), time, headers."""
    key = None if i % 3 == 0 else f"key-{i}".encode()
    value = None if i % 51 == 49 else f"value-{i}-{'x' * (i % 200)}".encode()
    return key, value, TIME + i * 1000, [("h", f"header-{i}".encode())] if i % 2 == 0 else []


def compare(records, first=0):
    """Records as (offset, key, value, time, headers), which begin with this offset."""
    for i, record in enumerate(records, first):
        same((i, *sample(i)), record, f"record {i}")


def main(checks):
    """The program: BOOTSTRAP [BEGINNING]."""
    report = Report(sys.argv[2] if len(sys.argv) > 2 else "")
    checks(report, sys.argv[1])
    sys.stdout.flush()
    os._exit(1 if report.failed else 0)  # whatever threads a client left behind
