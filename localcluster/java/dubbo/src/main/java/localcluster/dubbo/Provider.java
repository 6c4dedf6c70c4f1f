package localcluster.dubbo;

import java.util.Locale;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;

/**
 * A provider of {@link Web}, to be run as a pod. What Dubbo itself can be told is told it as Dubbo knows it, by
 * {@code -Ddubbo.…}; localcluster/servers/dubbo.py has the names. SIGTERM is left to Dubbo.
 *
 * <p>Each answered request is one line on stdout, in the sample app's form, so that a load can be squared with it.
 */
public final class Provider {
    private Provider() {}

    public static void main(String[] arguments) {
        ServiceConfig<Web> service = new ServiceConfig<>();
        service.setInterface(Web.class);
        service.setRef(new Answers());
        DubboBootstrap.getInstance().service(service).start();
        System.out.println("started");
        DubboBootstrap.getInstance().await();
    }

    private static final class Answers implements Web {
        private final String pod = System.getenv().getOrDefault("POD_NAME", "");
        private final long latencyMs = Long.getLong("localcluster.latency-ms", 5);
        private final long coldMs = Long.getLong("localcluster.cold-ms", 800);
        private final AtomicInteger coldLeft = new AtomicInteger(Integer.getInteger("localcluster.cold-requests", 0));

        @Override
        public String ask(String id, String path) {
            try {
                Thread.sleep(millis(path));
            } catch (InterruptedException interrupt) {
                throw new IllegalStateException("stopped in the middle of " + id, interrupt);
            }
            String line = String.format(
                    Locale.ROOT,
                    "{\"id\": \"%s\", \"t\": %.3f, \"pod\": \"%s\", \"path\": \"%s\"}%n",
                    id, System.currentTimeMillis() / 1000.0, pod, path);
            System.out.print(line); // in one piece: other threads print too
            System.out.flush();
            return pod;
        }

        private long millis(String path) {
            if (path.startsWith("/slow?s=")) {
                return (long) (1000 * Double.parseDouble(path.substring("/slow?s=".length())));
            }
            // Not below 0, however many requests come in a year.
            return coldLeft.getAndUpdate(left -> Math.max(0, left - 1)) > 0 ? coldMs : latencyMs;
        }
    }
}
