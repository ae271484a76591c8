"""What the scripts of this folder take from results of bench-harness, and how they show it."""
import json
import re
import statistics

MIB = 1 << 20


def run_of(path):
    """The last round of a file of `bench-harness run --json`."""
    with open(path) as file:
        report = json.load(file)
    return report["comparisons"][0]["brokers"][0]["rounds"][-1]


def quantile_ms(latency, share):
    """The value that the share (0 to 1) does not exceed, in ms; none of nothing."""
    rank = max(1, -(-latency["count"] * share // 1))
    seen = 0
    for value, count in latency["buckets"]:
        seen += count
        if seen >= rank:
            return value / 1e3
    return None


def of(run):
    """The figures of one run that the tables of this folder show."""
    counts, cost = run["counts"], run["cost"] or {}
    records = counts["acked"] or counts["consumed"]
    requests = counts["produce_requests"]
    cpu_s = cost.get("user_s", 0) + cost.get("system_s", 0)

    def share(value, among):
        return value / among if value is not None and among else None

    found = {
        "records_per_s": records / run["seconds"] if run["seconds"] else None,
        "records_per_request": share(counts["acked"], requests),
        "cpu_us_per_record": share(cpu_s * 1e6, records),
        "cpu_us_per_request": share(cpu_s * 1e6, requests),
        "instructions_per_record": share(cost.get("instructions"), records),
        "entries_per_record": share(cost.get("syscalls"), records),
        "entries_per_request": share(cost.get("syscalls"), requests),
        "peak_mib": share(cost.get("peak_memory_bytes"), MIB),
        "late_share": share(counts["late"], counts["sent"]),
        "generator_p99_ms": quantile_ms(run["generator_delay"], 0.99),
    }
    for name, latency in (("ack", run["ack"]), ("e2e", run["end_to_end"])):
        for label, q in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
            found[f"{name}_{label}_ms"] = quantile_ms(latency, q)
    found["invalid"] = [doubt["what"] for doubt in run["doubts"] if doubt["fatal"]]
    return found


def shown(value):
    """Three digits, and a dash for what is not known."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def median(values):
    """Of those that are known; none of nothing."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def spread(values):
    """Median, and least and most in brackets where there are several."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return shown(median(known))
    return f"{shown(median(known))} ({shown(min(known))}-{shown(max(known))})"


def ratio(value, first):
    """How many times the first one."""
    return f"{value / first:.2f}" if value is not None and first else "-"


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|---" * len(head) + "|")
    for row in rows:
        print("| " + " | ".join(shown(cell) for cell in row) + " |")
    print()


def refutations(runs):
    """Why runs are not valid, each reason once, with its numbers of the first run."""
    said = {}
    for name, found in runs:
        for why in found["invalid"]:
            first, names = said.setdefault(re.sub(r"[0-9.]+", "", why), (why, []))
            if name not in names:
                names.append(name)
    for why, names in said.values():
        print(f"not valid: {', '.join(names)}: {why}\n")


def pairs(path):
    """Lines of key=value."""
    with open(path) as file:
        lines = [line.split() for line in file]
    return [dict(word.split("=", 1) for word in line if "=" in word) for line in lines]
