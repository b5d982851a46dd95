"""The memory of a client's accelerator, by a formula and by counting."""

from zorba_ray.memory.activations import Workload, workload_of
from zorba_ray.memory.fleet_memory import FleetMemory, counted_bare, placed_by_budget, resident_everywhere
from zorba_ray.memory.footprint import ClientMemory, largest, require_within
from zorba_ray.memory.inventory import client_memory

__all__ = [
    "ClientMemory",
    "FleetMemory",
    "Workload",
    "client_memory",
    "counted_bare",
    "largest",
    "placed_by_budget",
    "require_within",
    "resident_everywhere",
    "workload_of",
]
