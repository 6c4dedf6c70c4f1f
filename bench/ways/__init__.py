"""Everything that carries weights, as the benchmark has it: by whom a workload's pods are called, and by what."""

from __future__ import annotations

from bench.ways.registries import DUBBO, NACOS
from bench.ways.routes import HTTP_ROUTE, INGRESS, TRAEFIK_SERVICE, VIRTUAL_SERVICE
from bench.ways.way import Called, Way

WAYS = (HTTP_ROUTE, TRAEFIK_SERVICE, INGRESS, VIRTUAL_SERVICE, NACOS, DUBBO)

__all__ = ["HTTP_ROUTE", "WAYS", "Called", "Way"]
