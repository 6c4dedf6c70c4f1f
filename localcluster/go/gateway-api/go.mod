// Pins the Gateway API, whose CRDs are taken from the module's files.
module localcluster.invalid/gateway-api

go 1.26.0

require sigs.k8s.io/gateway-api v1.6.3
