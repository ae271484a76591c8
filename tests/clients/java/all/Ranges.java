import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The ranges that the members of a group have read and committed, partition by partition. */
final class Ranges {
  private record Range(long from, long to, String member, int generation) {}

  private final Map<Integer, List<Range>> committed = new HashMap<>();

  /** A commit of [from, to) was acknowledged to this member of this generation. */
  synchronized void add(int partition, long from, long to, String member, int generation) {
    committed
        .computeIfAbsent(partition, p -> new ArrayList<>())
        .add(new Range(from, to, member, generation));
  }

  /** Every offset below the end must lie in exactly one range. */
  synchronized void cover(int partition, long end) {
    List<Range> ranges = new ArrayList<>(committed.getOrDefault(partition, List.of()));
    ranges.sort(Comparator.comparingLong(Range::from));
    long next = 0;
    Range before = null;
    for (Range range : ranges) {
      String what = range.from < next ? "was committed twice" : "was never committed";
      Checks.that(
          range.from == next,
          "partition "
              + partition
              + " at "
              + Math.min(range.from, next)
              + " "
              + what
              + ": "
              + range
              + " after "
              + before);
      next = range.to;
      before = range;
    }
    Checks.same(end, next, "committed end of partition " + partition);
  }

  synchronized int members() {
    return (int)
        committed.values().stream().flatMap(List::stream).map(Range::member).distinct().count();
  }
}
