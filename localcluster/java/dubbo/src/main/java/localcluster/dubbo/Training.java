package localcluster.dubbo;

import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.CompletableFuture;
import org.apache.dubbo.config.ApplicationConfig;
import org.apache.dubbo.config.ProtocolConfig;
import org.apache.dubbo.config.ReferenceConfig;
import org.apache.dubbo.config.RegistryConfig;
import org.apache.dubbo.config.ServiceConfig;
import org.apache.dubbo.config.bootstrap.DubboBootstrap;
import org.apache.dubbo.rpc.RpcContext;
import org.apache.zookeeper.server.NIOServerCnxnFactory;
import org.apache.zookeeper.server.ZooKeeperServer;

/** ZooKeeper, a provider and a consumer in one process, one call, the end: loads the classes that each will need. */
public final class Training {
    private Training() {}

    public static void main(String[] arguments) throws Exception {
        Path data = Files.createTempDirectory("training");
        ZooKeeperServer server = new ZooKeeperServer(data.toFile(), data.toFile(), 500);
        NIOServerCnxnFactory factory = new NIOServerCnxnFactory();
        factory.configure(new InetSocketAddress("127.0.0.1", 0), 100);
        factory.startup(server);
        ApplicationConfig application = new ApplicationConfig("training");
        application.setQosEnable(true);
        application.setQosHost("127.0.0.1");
        application.setQosPort(freePort());
        ProtocolConfig protocol = new ProtocolConfig("dubbo", freePort());
        protocol.setHost("127.0.0.1");
        ServiceConfig<Web> service = new ServiceConfig<>();
        service.setInterface(Web.class);
        service.setRef((id, path) -> id);
        ReferenceConfig<Web> reference = new ReferenceConfig<>();
        reference.setInterface(Web.class);
        reference.setInjvm(false);
        reference.setTimeout(20_000);
        DubboBootstrap.getInstance()
                .application(application)
                .registry(new RegistryConfig("zookeeper://127.0.0.1:" + factory.getLocalPort()))
                .protocol(protocol)
                .service(service)
                .reference(reference)
                .start();
        CompletableFuture<String> answer =
                RpcContext.getServiceContext().asyncCall(() -> reference.get().ask("hello", "/"));
        if (!"hello".equals(answer.get())) {
            throw new IllegalStateException("answered " + answer.get());
        }
        System.exit(0);
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }
}
