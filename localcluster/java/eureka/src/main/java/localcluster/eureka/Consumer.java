package localcluster.eureka;

import com.netflix.appinfo.ApplicationInfoManager;
import com.netflix.appinfo.providers.EurekaConfigBasedInstanceInfoProvider;
import com.netflix.discovery.CacheRefreshedEvent;
import com.netflix.discovery.DiscoveryClient;
import com.netflix.discovery.shared.Application;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.springframework.cloud.commons.util.InetUtils;
import org.springframework.cloud.commons.util.InetUtilsProperties;
import org.springframework.cloud.netflix.eureka.EurekaClientConfigBean;
import org.springframework.cloud.netflix.eureka.EurekaInstanceConfigBean;
import org.springframework.cloud.netflix.eureka.TimeoutProperties;
import org.springframework.cloud.netflix.eureka.http.DefaultEurekaClientHttpRequestFactorySupplier;
import org.springframework.cloud.netflix.eureka.http.RestClientDiscoveryClientOptionalArgs;
import org.springframework.cloud.netflix.eureka.http.RestClientTransportClientFactories;
import org.springframework.web.client.RestClient;

/**
 * What a Spring Cloud application knows of an app from its Eureka client: Netflix' client with Spring Cloud's settings
 * and transport, its registry fetched in whole and then by deltas, every so many seconds.
 *
 * <p>Prints a JSON line when it has its first list, and whenever the instances that are UP in its cache change. A cache
 * of a load balancer (Spring Cloud LoadBalancer's: 35 s) would come on top of this.
 */
public final class Consumer {
    private Consumer() {}

    public static void main(String[] arguments) throws InterruptedException {
        start();
        Thread.currentThread().join();
    }

    static void start() {
        String app = System.getProperty("localcluster.app");
        EurekaClientConfigBean config = new EurekaClientConfigBean();
        config.setServiceUrl(Map.of(EurekaClientConfigBean.DEFAULT_ZONE, System.getProperty("localcluster.servers")));
        config.setRegisterWithEureka(false);
        config.setRegistryFetchIntervalSeconds(Integer.getInteger("localcluster.fetch-seconds", 30));
        EurekaInstanceConfigBean me = new EurekaInstanceConfigBean(new InetUtils(new InetUtilsProperties()));
        me.setAppname("consumer");
        ApplicationInfoManager manager =
                new ApplicationInfoManager(me, new EurekaConfigBasedInstanceInfoProvider(me).get());
        RestClientDiscoveryClientOptionalArgs optional = new RestClientDiscoveryClientOptionalArgs(
                new DefaultEurekaClientHttpRequestFactorySupplier(new TimeoutProperties(), Set.of()), RestClient::builder);
        DiscoveryClient client =
                new DiscoveryClient(manager, config, new RestClientTransportClientFactories(optional), optional);
        Printer printer = new Printer();
        printer.print(addresses(client, app));
        client.registerEventListener(event -> {
            if (event instanceof CacheRefreshedEvent) {
                printer.print(addresses(client, app));
            }
        });
    }

    private static List<String> addresses(DiscoveryClient client, String app) {
        Application found = client.getApplication(app);
        List<com.netflix.appinfo.InstanceInfo> up = found == null ? List.of() : found.getInstances();
        return up.stream().map(each -> each.getIPAddr() + ":" + each.getPort()).sorted().collect(Collectors.toList());
    }

    private static final class Printer {
        private List<String> last;

        synchronized void print(List<String> addresses) {
            if (addresses.equals(last)) {
                return;
            }
            last = addresses;
            String list = addresses.stream()
                    .map(each -> "{\"address\": \"" + each + "\", \"weight\": 1.0}")
                    .collect(Collectors.joining(", "));
            System.out.printf(
                    Locale.ROOT, "{\"at\": %.3f, \"addresses\": [%s]}%n", System.currentTimeMillis() / 1000.0, list);
            System.out.flush();
        }
    }
}
