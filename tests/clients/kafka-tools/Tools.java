import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's own command line tools, one after the other in one process, as a file of steps says,
 * and prints what each of them wrote and its exit status.
 *
 * <p>Usage: Tools BOOTSTRAP STEPS SCRATCH_FOLDER. A line of the file is one of
 * <pre>
 *   # comment
 *   &lt; a line of the next tool's standard input (\t is a tab)
 *   write FILE TEXT        a file in the scratch folder
 *   TOOL ARGUMENT...       {b} is the broker's address, {d} the scratch folder
 *   sorted TOOL ...        the same, its lines sorted: the protocol gives them no order
 * </pre>
 */
final class Tools {
    private static final long STEP_MS_MAX = 60_000;
    private static final long HOOK_MS_MAX = 5_000;
    private static final String PACKAGE = "org.apache.kafka.tools.";
    private static final Map<String, String> CLASSES = Map.ofEntries(
        Map.entry("topics", PACKAGE + "TopicCommand"),
        Map.entry("configs", "kafka.admin.ConfigCommand"),
        Map.entry("console-producer", PACKAGE + "ConsoleProducer"),
        Map.entry("console-consumer", PACKAGE + "consumer.ConsoleConsumer"),
        Map.entry("consumer-groups", PACKAGE + "consumer.group.ConsumerGroupCommand"),
        Map.entry("groups", PACKAGE + "GroupsCommand"),
        Map.entry("get-offsets", PACKAGE + "GetOffsetShell"),
        Map.entry("delete-records", PACKAGE + "DeleteRecordsCommand"),
        Map.entry("log-dirs", PACKAGE + "LogDirsCommand"),
        Map.entry("api-versions", PACKAGE + "BrokerApiVersionsCommand"),
        Map.entry("cluster", PACKAGE + "ClusterTool"),
        Map.entry("transactions", PACKAGE + "TransactionsCommand"),
        Map.entry("quorum", PACKAGE + "MetadataQuorumCommand"),
        Map.entry("producer-perf", PACKAGE + "ProducerPerformance"),
        Map.entry("consumer-perf", PACKAGE + "ConsumerPerformance"),
        Map.entry("verifiable-producer", PACKAGE + "VerifiableProducer"),
        Map.entry("verifiable-consumer", PACKAGE + "VerifiableConsumer"));

    /** Where the running tool's output goes; null swallows what comes after its exit. */
    private static volatile ByteArrayOutputStream sink;
    private static volatile Integer status;
    private static final List<Runnable> HOOKS = new ArrayList<>();

    /** Thrown in place of the end of the process. */
    private static final class Ended extends Error {
        private static final long serialVersionUID = 1;
    }

    private static final class Switch extends OutputStream {
        @Override
        public void write(int b) {
            ByteArrayOutputStream to = sink;
            if (to != null) {
                to.write(b);
            }
        }

        @Override
        public void write(byte[] bytes, int offset, int length) {
            ByteArrayOutputStream to = sink;
            if (to != null) {
                to.write(bytes, offset, length);
            }
        }
    }

    private static void end(int code, String message) {
        if (status == null) {
            status = code;
            sink = null;
        }
        throw new Ended();
    }

    /** What the tool wanted done at the end of its process. */
    private static void runHooks() throws InterruptedException {
        for (Runnable hook : HOOKS) {
            Thread thread = new Thread(hook);
            thread.setDaemon(true);
            thread.start();
            thread.join(HOOK_MS_MAX);
        }
        HOOKS.clear();
    }

    private static List<String> words(String line) {
        List<String> words = new ArrayList<>();
        Matcher matcher = Pattern.compile("'([^']*)'|(\\S+)").matcher(line);
        while (matcher.find()) {
            words.add(matcher.group(1) != null ? matcher.group(1) : matcher.group(2));
        }
        return words;
    }

    /** A tool that does its last work when its process ends gets a process of its own. */
    private static String runApart(String name, List<String> arguments) throws Exception {
        List<String> command = new ArrayList<>(List.of("java", "-Xmx256m", "-cp",
            System.getProperty("java.class.path"), CLASSES.get(name)));
        command.addAll(arguments);
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getOutputStream().close();
        Thread reaper = new Thread(() -> {
            try {
                if (!process.waitFor(STEP_MS_MAX, TimeUnit.MILLISECONDS)) {
                    process.destroyForcibly();
                }
            } catch (InterruptedException e) {
                process.destroyForcibly();
            }
        });
        reaper.start();
        String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        reaper.join();
        return text + "exit " + process.waitFor() + "\n";
    }

    private static String run(String name, List<String> arguments) throws Exception {
        String type = CLASSES.get(name);
        if (type == null) {
            throw new IllegalArgumentException("unknown tool " + name);
        }
        if (name.startsWith("verifiable-")) {
            return runApart(name, arguments);
        }
        ByteArrayOutputStream captured = new ByteArrayOutputStream();
        status = null;
        sink = captured;
        var main = Class.forName(type).getMethod("main", String[].class);
        main.setAccessible(true);
        Thread thread = new Thread(() -> {
            try {
                main.invoke(null, (Object) arguments.toArray(new String[0]));
                if (status == null) {
                    status = 0;
                }
            } catch (InvocationTargetException e) {
                if (status == null) {
                    System.out.println("uncaught " + e.getCause());
                    status = 1;
                }
            } catch (IllegalAccessException e) {
                throw new IllegalStateException(e);
            }
        });
        thread.setDaemon(true);
        thread.start();
        thread.join(STEP_MS_MAX);
        boolean late = thread.isAlive();
        sink = captured;
        runHooks();
        System.out.flush();
        sink = null;
        String text = captured.toString(StandardCharsets.UTF_8).lines()
            .filter(line -> !line.startsWith("\tat ")).collect(Collectors.joining("\n"));
        if (!text.isEmpty() && !text.endsWith("\n")) {
            text += "\n";
        }
        return text + (late ? "did not end within the time\n" : "exit " + status + "\n");
    }

    public static void main(String[] args) throws Exception {
        String bootstrap = args[0];
        String scratch = args[2];
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        PrintStream captured = new PrintStream(new Switch(), true, StandardCharsets.UTF_8);
        System.setOut(captured);
        System.setErr(captured);
        Exit.setExitProcedure(Tools::end);
        Exit.setHaltProcedure(Tools::end);
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        StringBuilder input = new StringBuilder();
        for (String line : Files.readAllLines(Path.of(args[1]))) {
            if (line.isBlank() || line.startsWith("#")) {
                continue;
            }
            if (line.startsWith("< ")) {
                input.append(line.substring(2).replace("\\t", "\t")).append('\n');
                continue;
            }
            if (line.startsWith("write ")) {
                String[] parts = line.split(" ", 3);
                Files.writeString(Path.of(scratch, parts[1]), parts[2] + "\n");
                continue;
            }
            out.println("$ " + line);
            System.setIn(new ByteArrayInputStream(input.toString().getBytes(StandardCharsets.UTF_8)));
            input.setLength(0);
            List<String> words = words(line.replace("{b}", bootstrap).replace("{d}", scratch));
            boolean sorted = words.get(0).equals("sorted");
            int tool = sorted ? 1 : 0;
            String text = run(words.get(tool), words.subList(tool + 1, words.size()));
            out.print(sorted
                ? text.lines().sorted().collect(Collectors.joining("\n", "", "\n")) : text);
        }
        out.flush();
        Runtime.getRuntime().halt(0);
    }
}
