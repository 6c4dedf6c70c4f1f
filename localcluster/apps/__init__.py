"""Sample applications: one small HTTP server with the manners, good and bad, that apps have."""
