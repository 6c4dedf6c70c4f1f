package localcluster.dubbo;

import org.apache.dubbo.common.constants.CommonConstants;
import org.apache.dubbo.common.extension.Activate;
import org.apache.dubbo.rpc.Filter;
import org.apache.dubbo.rpc.Invocation;
import org.apache.dubbo.rpc.Invoker;
import org.apache.dubbo.rpc.Result;

/** Notes which provider a call goes to, also of one that fails: Dubbo calls this behind the choice, in the caller's thread. */
@Activate(group = CommonConstants.CONSUMER)
public final class Asked implements Filter {
    private static final ThreadLocal<String> ADDRESS = new ThreadLocal<>();

    static void forget() {
        ADDRESS.remove();
    }

    /** The address and port that this thread's last call went to; null when it went to none. */
    static String address() {
        return ADDRESS.get();
    }

    @Override
    public Result invoke(Invoker<?> invoker, Invocation invocation) {
        ADDRESS.set(invoker.getUrl().getAddress());
        return invoker.invoke(invocation);
    }
}
