package localcluster.dubbo;

/** The service that the provider has and the load asks: the sample app's answer, as a remote call. */
public interface Web {
    /**
     * @param id of the request, for the provider's log; empty for one that is no part of a load
     * @param path "/", or "/slow?s=2" for an answer that takes so many seconds
     * @return the name of the pod that answered
     */
    String ask(String id, String path);
}
