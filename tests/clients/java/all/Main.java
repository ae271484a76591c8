/** java Main BOOTSTRAP [BEGINNING]: all checks, or those whose name begins so. */
public final class Main {
  public static void main(String[] arguments) {
    Client client = new Client(arguments[0]);
    Checks checks = new Checks(arguments.length > 1 ? arguments[1] : "");
    new Admins(client).all(checks);
    new Records(client).all(checks);
    new Groups(client).all(checks);
    System.exit(checks.failed() ? 1 : 0);
  }
}
