package localcluster.nacos;

import com.alibaba.nacos.api.naming.NamingService;
import com.alibaba.nacos.api.naming.pojo.Instance;

/**
 * Registers an address by nacos-client 2.x, that is over gRPC: the registration lives as long as the connection, and the
 * client makes it again (redo) on a new one. Prints "registered" when it is; SIGTERM deregisters, SIGKILL does not.
 */
public final class Registrar {
    private Registrar() {}

    public static void main(String[] arguments) throws Exception {
        NamingService naming = Nacos.connect();
        Instance instance = new Instance();
        instance.setIp(System.getProperty("localcluster.ip"));
        instance.setPort(Integer.getInteger("localcluster.port"));
        instance.setWeight(Double.parseDouble(System.getProperty("localcluster.weight", "1")));
        naming.registerInstance(Nacos.SERVICE, Nacos.GROUP, instance);
        System.out.println("registered");
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                naming.deregisterInstance(Nacos.SERVICE, Nacos.GROUP, instance);
                naming.shutDown();
            } catch (Exception error) {
                error.printStackTrace();
            }
        }));
        Thread.currentThread().join();
    }
}
