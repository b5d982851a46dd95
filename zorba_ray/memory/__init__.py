"""What a client's accelerator holds."""

from zorba_ray.memory.budget import largest, parts_of, require_within
from zorba_ray.memory.fleet_memory import FleetMemory
from zorba_ray.memory.inventory import ClientMemory, Workload, client_memory

__all__ = [
    "ClientMemory",
    "FleetMemory",
    "Workload",
    "client_memory",
    "largest",
    "parts_of",
    "require_within",
]
