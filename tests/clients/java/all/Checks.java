import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Runs checks and prints one line for each: its name, a tab, and `ok` or `FAILED: what happened`.
 */
final class Checks {
  private static final int LIMIT_SECONDS = 180; // only a check that hangs meets it

  interface Body {
    void run() throws Exception;
  }

  private final String only;
  private boolean failed;

  /** Runs only checks whose name begins with {@code only}. */
  Checks(String only) {
    this.only = only;
  }

  void check(String name, Body body) {
    if (!name.startsWith(only)) return;
    System.err.println("--- " + name); // where its part of the log begins
    String verdict;
    try {
      limited(body);
      verdict = "ok";
    } catch (Throwable e) {
      failed = true;
      verdict = "FAILED: " + describe(e);
      e.printStackTrace();
    }
    System.out.println(name + "\t" + verdict);
    System.out.flush();
  }

  boolean failed() {
    return failed;
  }

  private static void limited(Body body) throws Throwable {
    Callable<Void> call =
        () -> {
          body.run();
          return null;
        };
    FutureTask<Void> task = new FutureTask<>(call);
    Thread thread = new Thread(task);
    thread.setDaemon(true);
    thread.start();
    try {
      task.get(LIMIT_SECONDS, TimeUnit.SECONDS);
    } catch (ExecutionException e) {
      throw e.getCause();
    } catch (TimeoutException e) {
      StringBuilder where = new StringBuilder();
      for (StackTraceElement frame : thread.getStackTrace()) {
        if (frame.getFileName() != null && frame.getModuleName() == null)
          where.append(' ').append(frame);
      }
      throw new AssertionError("no end after " + LIMIT_SECONDS + " s, at" + where);
    }
  }

  private static String describe(Throwable e) {
    Throwable cause = e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e;
    String text = cause instanceof AssertionError ? cause.getMessage() : cause.toString();
    return String.valueOf(text).replaceAll("\\s+", " ");
  }

  static void that(boolean holds, String what) {
    if (!holds) throw new AssertionError(what);
  }

  static void same(Object expected, Object got, String what) {
    if (!expected.equals(got)) {
      throw new AssertionError(what + ": expected " + expected + ", got " + got);
    }
  }

  /** The body must fail with this error, alone or as the cause of what is thrown. */
  static void fails(Class<? extends Throwable> error, String what, Body body) {
    try {
      body.run();
    } catch (Throwable e) {
      for (Throwable cause = e; cause != null; cause = cause.getCause()) {
        if (error.isInstance(cause)) return;
      }
      throw new AssertionError(what + ": expected " + error.getSimpleName() + ", got " + e);
    }
    throw new AssertionError(what + ": expected " + error.getSimpleName() + ", but it went well");
  }
}
