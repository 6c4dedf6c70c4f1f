"""What sends requests to pods: one file per traffic source, one small protocol (``source``) for all of them."""
