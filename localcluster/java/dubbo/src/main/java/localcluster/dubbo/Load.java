package localcluster.dubbo;

import java.io.IOException;
import java.io.Writer;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Phaser;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.LockSupport;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.apache.dubbo.rpc.RpcContext;
import org.apache.dubbo.rpc.RpcException;
import sun.misc.Signal;

/**
 * A Dubbo consumer that is an open-loop load generator: request n is due at n / rate seconds after the start, whatever
 * becomes of the others. The file it writes has the form of localcluster/load/result.py.
 *
 * <p>It ends after its duration, or on SIGTERM; what is in flight is let finish. How it balances, how often it repeats
 * (not at all) and when it gives up stands in {@code -Ddubbo.consumer.…}, which localcluster/load/dubbo.py sets.
 */
public final class Load {
    private static final double RATE = Double.parseDouble(System.getProperty("localcluster.rate"));
    private static final double DURATION = Double.parseDouble(System.getProperty("localcluster.duration", "Infinity"));
    private static final double READY_WITHIN = Double.parseDouble(System.getProperty("localcluster.ready-within", "15"));
    private static final String CALLER = System.getProperty("localcluster.caller", "dubbo");
    private static final String PATH = System.getProperty("localcluster.path", "/");
    private static final int ENOUGH = 3;
    /** Letting what is in flight finish takes no longer than this beyond Dubbo's own timeout. */
    private static final double PATIENCE_SECONDS = 5;

    private final Web web;
    private final Writer out;
    private final String run = UUID.randomUUID().toString().substring(0, 8);
    /** Who has answered at an address before, so that a lost request there can be laid at somebody's door. */
    private final Map<String, String> podAt = new ConcurrentHashMap<>();
    private final Phaser inFlight = new Phaser(1);
    private volatile boolean told;

    private Load(Web web, Writer out) {
        this.web = web;
        this.out = out;
    }

    public static void main(String[] arguments) throws Exception {
        ReferenceConfig<Web> reference = new ReferenceConfig<>();
        reference.setInterface(Web.class);
        DubboBootstrap.getInstance().reference(reference).start();
        try (Writer out = Files.newBufferedWriter(Path.of(System.getProperty("localcluster.out")))) {
            new Load(reference.get(), out).carryOut();
        }
        Runtime.getRuntime().halt(0); // a consumer owes nobody a farewell, and Dubbo's would take seconds
    }

    private void carryOut() throws Exception {
        Thread main = Thread.currentThread();
        Signal.handle(new Signal("TERM"), signal -> {
            told = true;
            LockSupport.unpark(main);
        });
        write(String.format(
                Locale.ROOT,
                "{\"begin\": {\"run\": \"%s\", \"at\": %.6f, \"plan\": {\"rate\": %s, \"caller\": %s}}}",
                run, System.currentTimeMillis() / 1000.0, RATE, quoted(CALLER)));
        if (READY_WITHIN > 0) {
            waitUntilAnswering();
        }
        Thread flusher = new Thread(this::keepFlushing);
        flusher.setDaemon(true);
        flusher.start();
        ExecutorService askers = Executors.newCachedThreadPool();
        long cpuBefore = cpuNanos();
        long start = System.nanoTime();
        double wallStart = System.currentTimeMillis() / 1000.0;
        long sent = 0;
        while (!told) {
            double due = sent / RATE;
            long wait = start + (long) (due * 1e9) - System.nanoTime();
            if (due >= DURATION) {
                break;
            }
            if (wait > 0) {
                LockSupport.parkNanos(wait);
                continue;
            }
            String id = run + "-" + sent++;
            inFlight.register();
            // A thread each: Dubbo may block in sending, and the schedule must not wait for it.
            askers.execute(() -> ask(id, start + (long) (due * 1e9), wallStart + due));
        }
        double wall = (System.nanoTime() - start) / 1e9;
        int phase = inFlight.arrive();
        try {
            double patience = Double.parseDouble(System.getProperty("dubbo.consumer.timeout")) / 1000 + PATIENCE_SECONDS;
            inFlight.awaitAdvanceInterruptibly(phase, (long) (patience * 1000), TimeUnit.MILLISECONDS);
        } catch (TimeoutException late) {
            throw new IllegalStateException(inFlight.getUnarrivedParties() + " requests never ended", late);
        }
        write(String.format(
                Locale.ROOT,
                "{\"end\": {\"sent\": %d, \"wall_seconds\": %.3f, \"cpu_seconds\": %.3f}}",
                sent, wall, (cpuNanos() - cpuBefore) / 1e9));
    }

    private void waitUntilAnswering() throws InterruptedException {
        long until = System.nanoTime() + (long) (READY_WITHIN * 1e9);
        for (int answers = 0; answers < ENOUGH && System.nanoTime() < until && !told; ) {
            try {
                web.ask("", "/");
                answers++;
            } catch (RpcException notYet) {
                answers = 0;
                Thread.sleep(100);
            }
        }
    }

    private void ask(String id, long due, double at) {
        long began = System.nanoTime();
        Asked.forget();
        CompletableFuture<String> answer;
        try {
            answer = RpcContext.getServiceContext().asyncCall(() -> web.ask(id, PATH));
        } catch (RuntimeException error) {
            answer = CompletableFuture.failedFuture(error);
        }
        String address = Asked.address();
        answer.whenComplete((pod, error) -> {
            double tookMs = (System.nanoTime() - began) / 1e6;
            if (error == null && address != null) {
                podAt.put(address, pod);
            }
            String detail = error == null ? "" : Causes.text(error);
            String cause = error == null ? "ok" : Causes.of(error);
            String who = error == null ? pod : address == null ? null : podAt.get(address);
            write(String.format(
                    Locale.ROOT,
                    "{\"id\": \"%s\", \"caller\": %s, \"at\": %.6f, \"late_ms\": %.3f, \"took_ms\": %.3f, \"cause\": %s, "
                            + "\"status\": null, \"pod\": %s, \"address\": %s, \"reused\": %s%s}",
                    id, quoted(CALLER), at, (began - due) / 1e6, tookMs, quoted(cause), quoted(who), quoted(address),
                    who != null, detail.isEmpty() ? "" : ", \"detail\": " + quoted(detail)));
            inFlight.arriveAndDeregister();
        });
    }

    private void keepFlushing() {
        try {
            while (true) {
                Thread.sleep(1000);
                synchronized (out) {
                    out.flush();
                }
            }
        } catch (IOException | InterruptedException over) {
            // The file was closed.
        }
    }

    private void write(String line) {
        try {
            synchronized (out) {
                out.write(line + "\n");
            }
        } catch (IOException error) {
            error.printStackTrace();
            Runtime.getRuntime().halt(1); // a result that is not written down is worse than no run
        }
    }

    private static String quoted(String text) {
        if (text == null) {
            return "null";
        }
        StringBuilder json = new StringBuilder("\"");
        for (char letter : text.toCharArray()) {
            if (letter == '"' || letter == '\\') {
                json.append('\\').append(letter);
            } else if (letter < ' ' || letter > '~') {
                json.append(String.format("\\u%04x", (int) letter));
            } else {
                json.append(letter);
            }
        }
        return json.append('"').toString();
    }

    private static long cpuNanos() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
                .getProcessCpuTime();
    }
}
