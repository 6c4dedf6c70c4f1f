package localcluster.dubbo;

import java.util.Locale;
import org.apache.dubbo.remoting.RemotingException;
import org.apache.dubbo.remoting.TimeoutException;
import org.apache.dubbo.rpc.RpcException;

/** Dubbo's errors in the words of localcluster/load/result.py. */
final class Causes {
    private Causes() {}

    static String of(Throwable error) {
        boolean nobody = false;
        boolean late = false;
        boolean unsent = false;
        boolean refused = false;
        for (Throwable each = error; each != null; each = each.getCause()) {
            String said = String.valueOf(each.getMessage());
            // DefaultFuture.closeChannel: the connection went while an answer was owed.
            if (each instanceof RemotingException && said.contains("is inactive")) {
                return "kept-alive closed in flight";
            }
            late |= each instanceof TimeoutException;
            // "destroyed": the provider was dropped from the list between being chosen and being asked.
            unsent |= each instanceof RemotingException && said.contains("closed")
                    || each instanceof RpcException && said.toLowerCase(Locale.ROOT).contains("destroyed");
            refused |= said.contains("Connection refused");
            if (each instanceof RpcException) {
                RpcException rpc = (RpcException) each;
                nobody |= rpc.isForbidden() || rpc.isNoInvokerAvailableAfterFilter();
                late |= rpc.isTimeout();
            }
        }
        if (nobody) {
            return "no address";
        }
        if (late) {
            return "timeout";
        }
        if (refused) {
            return "refused";
        }
        return unsent ? "closed before answer" : "error status";
    }

    /** What Dubbo says of it: its own error, without those that only wrap it. */
    static String text(Throwable error) {
        Throwable own = error;
        for (Throwable each = error; each != null; each = each.getCause()) {
            own = each instanceof RpcException ? each : own;
        }
        String message = String.valueOf(own.getMessage());
        String code = own instanceof RpcException ? "code " + ((RpcException) own).getCode() + ": " : "";
        return code + message.substring(0, Math.min(400, message.length()));
    }
}
