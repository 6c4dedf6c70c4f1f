package localcluster.eureka;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.web.server.servlet.context.ServletWebServerApplicationContext;

/** A server and a consumer in one process, and the end: loads the classes that each will need. */
public final class Training {
    private Training() {}

    public static void main(String[] arguments) throws Exception {
        int port = ((ServletWebServerApplicationContext) SpringApplication.run(
                        Server.class,
                        "--server.address=127.0.0.1",
                        "--server.port=0",
                        "--eureka.client.register-with-eureka=false",
                        "--eureka.client.fetch-registry=false",
                        "--spring.main.banner-mode=off"))
                .getWebServer()
                .getPort();
        System.setProperty("localcluster.app", "training");
        System.setProperty("localcluster.servers", "http://127.0.0.1:" + port + "/eureka/");
        Consumer.start();
        System.exit(0);
    }
}
