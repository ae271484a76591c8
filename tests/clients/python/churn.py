"""A group whose members come and go under load, for any Python client.

Every offset must lie in exactly one committed range, and no committed offset may ever decrease.
The client gives three functions, see `churn`; members are instances of `Member`.
"""

import threading
import time

from report import same, until

PARTITIONS = 8


class Ranges:
    """The ranges that the members have read and committed."""

    def __init__(self):
        self.lock = threading.Lock()
        self.committed = {}
        self.members = set()

    def add(self, partition, begin, end, member):
        with self.lock:
            self.committed.setdefault(partition, []).append((begin, end, member))
            self.members.add(member)

    def cover(self, partition, end):
        following = 0
        for begin, after, member in sorted(self.committed.get(partition, [])):
            what = "was committed twice" if begin < following else "was never committed"
            assert begin == following, (
                f"partition {partition} at {min(begin, following)} {what}: "
                f"[{begin}, {after}) of {member} where {following} comes next"
            )
            following = after
        same(end, following, f"committed end of partition {partition}")


class Member(threading.Thread):
    """Reads, checks what it reads, commits, and notes what was committed.

    A client's subclass has open(), poll() -> [(partition, offset, value)], send_commit({partition:
    offset}) -> whether it was accepted, close(); it calls assigned() and revoked() when told so.
    """

    def __init__(self, name, ranges):
        super().__init__(name=name, daemon=True)
        self.ranges = ranges
        self.start_at = {}  # of the range not yet committed
        self.read_to = {}
        self.owned = set()
        self.leave = False
        self.failure = None
        self.start()

    def run(self):
        try:
            self.open()
            while not self.leave:
                for partition, offset, value in self.poll():
                    self.take(partition, offset, value)
                self.commit()
            self.close()
        except BaseException as e:
            self.failure = e

    def take(self, partition, offset, value):
        assert partition in self.owned, f"a record of partition {partition}, which it does not own"
        begin = self.start_at.setdefault(partition, offset)
        following = self.read_to.get(partition, begin)
        same(following, offset, f"next offset of partition {partition}")
        same(f"{partition}:{offset}".encode(), value, f"value in partition {partition}")
        self.read_to[partition] = offset + 1

    def commit(self):
        if not self.read_to or not self.send_commit(dict(self.read_to)):
            return  # what is lost is read again by the next owner, what is kept is committed later
        for partition, offset in self.read_to.items():
            self.ranges.add(partition, self.start_at[partition], offset, self.name)
            self.start_at[partition] = offset
        self.read_to.clear()

    def assigned(self, partitions, positions=()):
        """With the positions where reading begins, if the client can tell them here."""
        self.start_at.update(positions)
        self.owned.update(partitions)

    def revoked(self, partitions):
        self.commit()
        self.lost(partitions)

    def lost(self, partitions):
        for partition in partitions:
            self.owned.discard(partition)
            self.start_at.pop(partition, None)
            self.read_to.pop(partition, None)

    def check(self):
        if self.failure is not None:
            raise AssertionError(f"{self.name} failed: {self.failure!r}")

    def end(self):
        self.leave = True
        self.join()
        self.check()


class Watch(threading.Thread):
    """Asks for the committed offsets again and again; none may be lower than it was."""

    def __init__(self, committed):
        super().__init__(daemon=True)
        self.ask = committed
        self.lock = threading.Lock()
        self.last = {}
        self.stop = False
        self.failure = None
        self.start()

    def run(self):
        try:
            while not self.stop:
                self.committed()
                time.sleep(0.01)
        except Exception as e:
            self.failure = e

    def committed(self):
        with self.lock:
            now = self.ask()
            for partition, before in self.last.items():
                assert now.get(partition, -1) >= before, (
                    f"the committed offset of partition {partition} went from {before} "
                    f"to {now.get(partition)}"
                )
            self.last = now
            return sum(now.values())

    def progress(self, count):
        target = self.committed() + count
        until(f"{count} more records committed", lambda: self.committed() >= target)

    def end(self):
        self.stop = True
        self.join()
        if self.failure is not None:
            raise self.failure
        return self.last


class Load(threading.Thread):
    """Sends numbered records to all partitions until it is told to stop."""

    def __init__(self, send_round):
        super().__init__(daemon=True)
        self.send_round = send_round
        self.ends = [0] * PARTITIONS
        self.stop = False
        self.failure = None
        self.start()

    def run(self):
        try:
            while not self.stop:
                batch = []
                for _ in range(5):
                    for partition, end in enumerate(self.ends):
                        batch.append((partition, f"{partition}:{end}".encode()))
                        self.ends[partition] += 1
                self.send_round(batch)
                time.sleep(0.02)
        except Exception as e:
            self.failure = e

    def end(self):
        self.stop = True
        self.join()
        if self.failure is not None:
            raise self.failure
        return self.ends


def churn(member, send_round, committed, settled):
    """member(name, ranges) begins a Member; send_round([(partition, value)]) sends and waits;
    committed() -> {partition: offset}; settled(count): the group is stable with so many members.
    """
    ranges, members, born = Ranges(), [], 0
    load, watch = Load(send_round), Watch(committed)
    for wanted in [1, 2, 5, 3, 5, 1]:
        while len(members) < wanted:
            members.append(member(f"member-{born}", ranges))
            born += 1
        while len(members) > wanted:
            members.pop(0).end()

        def steady():
            for each in members + [load, watch]:
                if each.failure is not None:
                    raise AssertionError(f"{each.name} failed: {each.failure!r}")
            owned = sum(len(each.owned) for each in members)
            return owned == PARTITIONS and settled(wanted)

        until(f"a stable group of {wanted} that owns each partition once", steady)
        watch.progress(300)
    ends = load.end()
    until(f"all {sum(ends)} records committed", lambda: watch.committed() == sum(ends))
    members.pop().end()
    last = watch.end()
    for partition, end in enumerate(ends):
        same(end, last[partition], f"committed at the end in partition {partition}")
        ranges.cover(partition, end)
    assert len(ranges.members) >= 5, f"only {len(ranges.members)} members ever committed"
