package localcluster.dubbo;

import org.apache.dubbo.rpc.Invocation;
import org.apache.dubbo.rpc.Invoker;
import org.apache.dubbo.rpc.Result;
import org.apache.dubbo.rpc.cluster.Directory;
import org.apache.dubbo.rpc.cluster.support.AbstractClusterInvoker;
import org.apache.dubbo.rpc.cluster.support.FailfastClusterInvoker;
import org.apache.dubbo.rpc.cluster.support.wrapper.AbstractCluster;

/**
 * Fails fast, and takes {@code -Dlocalcluster.dawdle-ms} between choosing a provider and calling it: so long as a busy
 * machine may take now and then, and what happens in between is seen each time.
 */
public final class Dawdling extends AbstractCluster {
    private static final long MILLIS = Long.getLong("localcluster.dawdle-ms", 100);

    @Override
    public <T> AbstractClusterInvoker<T> doJoin(Directory<T> directory) {
        return new FailfastClusterInvoker<T>(directory) {
            @Override
            protected Result invokeWithContext(Invoker<T> invoker, Invocation invocation) {
                try {
                    Thread.sleep(MILLIS);
                } catch (InterruptedException interrupt) {
                    throw new IllegalStateException("stopped before " + invocation, interrupt);
                }
                return super.invokeWithContext(invoker, invocation);
            }
        };
    }
}
