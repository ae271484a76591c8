#!/usr/bin/env python3
"""Compares the answers of two brokers, line by line: compare.py APACHE_KAFKA OTHER.

Where Apache Kafka answers UNKNOWN_SERVER_ERROR, which is an exception that nobody caught, the
other broker may refuse the request with any code, but must refuse it. What the table calls
stricter is stored by Apache Kafka, and must be refused with INVALID_RECORD by the other.
"""
import re
import sys

ACCIDENT = "UNKNOWN_SERVER_ERROR"
STRICTER = ", stricter, "


def agree(expected, found):
    if expected == found:
        return True
    name, _, answer = expected.partition(": ")
    other_name, _, other = found.partition(": ")
    if STRICTER in name:
        return name == other_name and answer == "NONE" and other.startswith("INVALID_RECORD")
    if name != other_name or ACCIDENT not in answer:
        return False
    codes = re.findall(r'"errorCode":"(\w+)"', other) or other.split(", ")
    return other == "closed" or any(code not in ("NONE", "answered") for code in codes)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        expected = file.read().splitlines()
    with open(sys.argv[2], encoding="utf-8") as file:
        found = file.read().splitlines()
    wrong = abs(len(expected) - len(found))
    requests = stricter = 0
    for one, other in zip(expected, found):
        requests += ": " in one
        if not agree(one, other):
            wrong += 1
            print(f"- {one}\n+ {other}")
        elif STRICTER in one and one != other:
            stricter += 1
    print(f"{requests} requests, {wrong} answered differently, {stricter} refused on purpose")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
