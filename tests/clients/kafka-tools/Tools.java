import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's own command line tools, one after the other in one process, as a file of steps says,
 * and prints what each of them wrote and its exit status.
 *
 * <p>Usage: Tools BOOTSTRAP STEPS, in an empty working folder. A line of the file is one of
 * <pre>
 *   # comment
 *   &lt; a line of the next tool's standard input (\t is a tab)
 *   write FILE TEXT        a file in the working folder
 *   TOOL ARGUMENT...       {b} is the broker's address, {id:TOPIC} the
 *                          id of a topic
 *   sorted TOOL ...        the same, its lines sorted: the protocol gives them no order
 *   until 'REGEX' TOOL ... the same again and again until the output matches; shows the last
 *   background NAME TOOL ...   in a process of its own, its output unread
 *   end NAME               ends that process, and waits for it
 * </pre>
 */
final class Tools {
    private static final long STEP_MS_MAX = 120_000;
    private static final long HOOK_MS_MAX = 15_000;
    private static final int UNTIL_TRIES_MAX = 240;
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
        Map.entry("client-metrics", PACKAGE + "ClientMetricsCommand"),
        Map.entry("producer-perf", PACKAGE + "ProducerPerformance"),
        Map.entry("consumer-perf", PACKAGE + "ConsumerPerformance"),
        Map.entry("verifiable-producer", PACKAGE + "VerifiableProducer"),
        Map.entry("verifiable-consumer", PACKAGE + "VerifiableConsumer"));

    /** Where the running tool's output goes; null swallows what comes after its exit. */
    private static volatile ByteArrayOutputStream sink;
    private static volatile Integer status;
    private static final List<Runnable> HOOKS = new ArrayList<>();
    private static final Map<String, Process> BACKGROUND = new HashMap<>();

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

    private static ProcessBuilder apart(String name, List<String> arguments) {
        List<String> command = new ArrayList<>(List.of("java", "-Xmx256m", "-cp",
            System.getProperty("java.class.path"), CLASSES.get(name)));
        command.addAll(arguments);
        return new ProcessBuilder(command).redirectErrorStream(true);
    }

    /** A tool that does its last work when its process ends gets a process of its own. */
    private static String runApart(String name, List<String> arguments) throws Exception {
        Process process = apart(name, arguments).start();
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

    /** `sorted`, `until` and a tool with its arguments, in that order. */
    private static String shown(List<String> words) throws Exception {
        if (words.get(0).equals("sorted")) {
            return shown(words.subList(1, words.size())).lines().sorted()
                .collect(Collectors.joining("\n", "", "\n"));
        }
        if (!words.get(0).equals("until")) {
            return run(words.get(0), words.subList(1, words.size()));
        }
        Pattern wanted = Pattern.compile(words.get(1), Pattern.DOTALL);
        String text = "";
        for (int tries = 0; tries < UNTIL_TRIES_MAX; tries++) {
            text = run(words.get(2), words.subList(3, words.size()));
            if (wanted.matcher(text).find()) {
                return text;
            }
            Thread.sleep(250);
        }
        return text + "never matched\n";
    }

    private static String filled(String line, String bootstrap) throws Exception {
        String text = line.replace("{b}", bootstrap);
        Matcher wanted = Pattern.compile("\\{id:([^}]+)}").matcher(text);
        if (!wanted.find()) {
            return text;
        }
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            String topic = wanted.group(1);
            return wanted.replaceFirst(admin.describeTopics(List.of(topic)).allTopicNames().get()
                .get(topic).topicId().toString());
        }
    }

    private static void step(String line, String bootstrap, PrintStream out)
            throws Exception {
        String[] parts = line.split(" ", 3);
        if (parts[0].equals("write")) {
            Files.writeString(Path.of(parts[1]), parts[2].replace("\\n", "\n") + "\n");
            return;
        }
        if (parts[0].equals("end")) {
            Process process = BACKGROUND.remove(parts[1]);
            process.destroy();
            process.waitFor();
            return;
        }
        List<String> words = words(filled(line, bootstrap));
        if (parts[0].equals("background")) {
            BACKGROUND.put(words.get(1), apart(words.get(2), words.subList(3, words.size()))
                .redirectOutput(ProcessBuilder.Redirect.DISCARD).start());
            return;
        }
        out.println("$ " + line);
        out.print(shown(words));
    }

    public static void main(String[] args) throws Exception {
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
            System.setIn(new ByteArrayInputStream(input.toString().getBytes(StandardCharsets.UTF_8)));
            input.setLength(0);
            step(line, args[0], out);
        }
        out.flush();
        BACKGROUND.values().forEach(Process::destroyForcibly);
        Runtime.getRuntime().halt(0);
    }
}
