package localcluster.dubbo;

import org.apache.dubbo.remoting.RemotingException;
import org.apache.dubbo.rpc.RpcException;

/** Dubbo's errors in the words of localcluster/load/result.py. */
final class Causes {
    private Causes() {}

    static String of(Throwable error) {
        RpcException rpc = null;
        String said = "";
        for (Throwable each = error; each != null; each = each.getCause()) {
            rpc = rpc == null && each instanceof RpcException ? (RpcException) each : rpc;
            said += each.getMessage() + "\n";
            if (each instanceof RemotingException && each.getMessage() != null) {
                // DefaultFuture.closeChannel: the connection went while an answer was owed.
                if (each.getMessage().contains("is inactive")) {
                    return "kept-alive closed in flight";
                }
                if (each.getMessage().contains("closed")) {
                    return "closed before answer";
                }
            }
        }
        if (rpc != null && (rpc.isForbidden() || rpc.isNoInvokerAvailableAfterFilter())) {
            return "no address";
        }
        if (rpc != null && rpc.isTimeout()) {
            return "timeout";
        }
        if (said.contains("Connection refused") || said.contains("Failed to connect") || said.contains("Failed connect")) {
            return "refused";
        }
        return said.contains("channel is closed") ? "closed before answer" : "error status";
    }
}
