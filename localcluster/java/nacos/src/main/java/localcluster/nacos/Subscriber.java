package localcluster.nacos;

import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.listener.NamingEvent;
import com.alibaba.nacos.api.naming.pojo.Instance;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * What an application knows of a service that it has subscribed to by nacos-client: the instances that
 * {@code selectInstances} would give it, which are those enabled, healthy and with a weight above 0.
 *
 * <p>Prints a JSON line when it has its first list, and whenever the list or a weight in it changes.
 */
public final class Subscriber {
    private static String last;

    private Subscriber() {}

    public static void main(String[] arguments) throws Exception {
        NamingService naming = Nacos.connect();
        naming.subscribe(Nacos.SERVICE, Nacos.GROUP, event -> {
            if (event instanceof NamingEvent) {
                print(((NamingEvent) event).getInstances());
            }
        });
        print(naming.getAllInstances(Nacos.SERVICE, Nacos.GROUP, true)); // no event is sent for an empty list
        Thread.currentThread().join();
    }

    private static synchronized void print(List<Instance> instances) {
        String list = instances.stream()
                .filter(each -> each.isEnabled() && each.isHealthy() && each.getWeight() > 0)
                .map(each -> String.format(
                        Locale.ROOT,
                        "{\"address\": \"%s:%d\", \"weight\": %s}",
                        each.getIp(), each.getPort(), each.getWeight()))
                .sorted()
                .collect(Collectors.joining(", "));
        if (list.equals(last)) {
            return;
        }
        last = list;
        System.out.printf(
                Locale.ROOT, "{\"at\": %.3f, \"addresses\": [%s]}%n", System.currentTimeMillis() / 1000.0, list);
        System.out.flush();
    }
}
