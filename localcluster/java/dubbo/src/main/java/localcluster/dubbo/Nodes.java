package localcluster.dubbo;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.concurrent.CountDownLatch;
import org.apache.zookeeper.CreateMode;
import org.apache.zookeeper.KeeperException;
import org.apache.zookeeper.Watcher.Event.KeeperState;
import org.apache.zookeeper.ZooDefs.Ids;
import org.apache.zookeeper.ZooKeeper;

/**
 * Reads and writes ZooKeeper's nodes as it is told on stdin, a line each: {@code ls PATH}, {@code get PATH},
 * {@code set PATH DATA}, {@code delete PATH}. Answers each with a line: {@code ok DATA}, {@code none} where there is no
 * such node, or {@code error …}. Data is in Base64; children are lines of it.
 */
public final class Nodes {
    private Nodes() {}

    public static void main(String[] arguments) throws Exception {
        CountDownLatch connected = new CountDownLatch(1);
        try (ZooKeeper zookeeper = new ZooKeeper(System.getProperty("localcluster.server"), 10_000, event -> {
                    if (event.getState() == KeeperState.SyncConnected) {
                        connected.countDown();
                    }
                });
                BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))) {
            connected.await();
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                System.out.println(answer(zookeeper, line.split(" ")));
                System.out.flush();
            }
        }
    }

    private static String answer(ZooKeeper zookeeper, String[] words) throws InterruptedException {
        String path = words[1];
        try {
            switch (words[0]) {
                case "ls":
                    return said(String.join("\n", zookeeper.getChildren(path, false)).getBytes(StandardCharsets.UTF_8));
                case "get":
                    return said(zookeeper.getData(path, false, null));
                case "set":
                    set(zookeeper, path, words.length > 2 ? Base64.getDecoder().decode(words[2]) : new byte[0]);
                    return "ok ";
                case "delete":
                    zookeeper.delete(path, -1);
                    return "ok ";
                default:
                    return "error unknown: " + words[0];
            }
        } catch (KeeperException.NoNodeException missing) {
            return "none";
        } catch (KeeperException error) {
            return "error " + error.getMessage();
        }
    }

    private static String said(byte[] data) {
        return "ok " + (data == null ? "" : Base64.getEncoder().encodeToString(data));
    }

    private static void set(ZooKeeper zookeeper, String path, byte[] data) throws KeeperException, InterruptedException {
        for (int slash = path.indexOf('/', 1); slash > 0; slash = path.indexOf('/', slash + 1)) {
            create(zookeeper, path.substring(0, slash), new byte[0]);
        }
        if (!create(zookeeper, path, data)) {
            zookeeper.setData(path, data, -1);
        }
    }

    private static boolean create(ZooKeeper zookeeper, String path, byte[] data)
            throws KeeperException, InterruptedException {
        try {
            zookeeper.create(path, data, Ids.OPEN_ACL_UNSAFE, CreateMode.PERSISTENT);
            return true;
        } catch (KeeperException.NodeExistsException there) {
            return false;
        }
    }
}
