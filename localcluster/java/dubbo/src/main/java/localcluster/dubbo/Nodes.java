package localcluster.dubbo;

import java.nio.charset.StandardCharsets;
import java.util.concurrent.CountDownLatch;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;

/** Reads and writes ZooKeeper's nodes: {@code ls PATH}, {@code get PATH}, {@code set PATH} (data on stdin), {@code delete PATH}. */
public final class Nodes {
    private Nodes() {}

    public static void main(String[] arguments) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        try (ZooKeeper zookeeper = new ZooKeeper(System.getProperty("localcluster.server"), 10_000, event -> {
            if (event.getState() == KeeperState.SyncConnected) {
                connected.countDown();
            }
        })) {
            connected.await();
            String path = arguments[1];
            switch (arguments[0]) {
                case "ls" -> zookeeper.getChildren(path, false).stream().sorted().forEach(System.out::println);
                case "get" -> System.out.print(new String(zookeeper.getData(path, false, null), StandardCharsets.UTF_8));
                case "set" -> set(zookeeper, path, System.in.readAllBytes());
                case "delete" -> zookeeper.delete(path, -1);
                default -> throw new IllegalArgumentException(arguments[0]);
            }
        } catch (KeeperException.NoNodeException missing) {
            System.err.println("no node " + missing.getPath());
            System.exit(3);
        }
    }

    private static void set(ZooKeeper zookeeper, String path, byte[] data) throws Exception {
        for (int slash = path.indexOf('/', 1); slash > 0; slash = path.indexOf('/', slash + 1)) {
            create(zookeeper, path.substring(0, slash), new byte[0]);
        }
        if (!create(zookeeper, path, data)) {
            zookeeper.setData(path, data, -1);
        }
    }

    private static boolean create(ZooKeeper zookeeper, String path, byte[] data) throws Exception {
        try {
            zookeeper.create(path, data, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            return true;
        } catch (KeeperException.NodeExistsException there) {
            return false;
        }
    }
}
