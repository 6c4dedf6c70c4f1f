// Pins Traefik's own module, whose CRDs are taken from its files.
module localcluster.invalid/traefik

go 1.26.0

require github.com/traefik/traefik/v3 v3.7.13
