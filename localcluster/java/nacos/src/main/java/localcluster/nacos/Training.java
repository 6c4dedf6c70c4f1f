package localcluster.nacos;

import java.net.ServerSocket;

/** A client whose server accepts and says nothing, and the end: loads most of the classes that the others will need. */
public final class Training {
    private static final long SECONDS = 2;

    private Training() {}

    public static void main(String[] arguments) throws Exception {
        try (ServerSocket silent = new ServerSocket(0)) {
            System.setProperty("localcluster.server", "127.0.0.1:" + silent.getLocalPort());
            Nacos.connect();
            Thread.sleep(SECONDS * 1000); // it connects in the background
        }
        Runtime.getRuntime().exit(0);
    }
}
