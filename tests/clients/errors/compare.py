#!/usr/bin/env python3
"""Compares the answers of two brokers, line by line: compare.py APACHE_KAFKA OTHER.

Where Apache Kafka answers UNKNOWN_SERVER_ERROR, which is an exception that nobody caught, the
other broker may refuse the request with any code, but must refuse it.
"""
import sys

ACCIDENT = "UNKNOWN_SERVER_ERROR"


def agree(expected, found):
    if expected == found:
        return True
    name, _, answer = expected.partition(": ")
    other_name, _, other = found.partition(": ")
    if name != other_name or ACCIDENT not in answer:
        return False
    return other == "closed" or any(code not in ("NONE", "answered") for code in other.split(", "))


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        expected = file.read().splitlines()
    with open(sys.argv[2], encoding="utf-8") as file:
        found = file.read().splitlines()
    wrong = abs(len(expected) - len(found))
    for one, other in zip(expected, found):
        if not agree(one, other):
            wrong += 1
            print(f"- {one}\n+ {other}")
    print(f"{len(expected) - 1} requests, {wrong} answered differently")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
