"""``kubectl lossless``: what a person with a kubeconfig can see and do, with the operator or without it."""
