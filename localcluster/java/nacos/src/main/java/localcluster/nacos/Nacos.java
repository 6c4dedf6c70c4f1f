package localcluster.nacos;

import com.alibaba.nacos.api.NacosFactory;
import com.alibaba.nacos.api.exception.NacosException;
import com.alibaba.nacos.api.naming.NamingService;
import java.util.Properties;

/** The connection that both mains have. */
final class Nacos {
    static final String SERVICE = System.getProperty("localcluster.service");
    static final String GROUP = System.getProperty("localcluster.group", "DEFAULT_GROUP");

    private Nacos() {}

    static NamingService connect() throws NacosException {
        Properties properties = new Properties();
        properties.setProperty("serverAddr", System.getProperty("localcluster.server"));
        properties.setProperty("namespace", System.getProperty("localcluster.namespace", "public"));
        return NacosFactory.createNamingService(properties);
    }
}
