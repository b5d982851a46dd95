"""What a client's accelerator holds."""

from zorba_ray.memory.budget import largest, parts_of, require_within
from zorba_ray.memory.fleet_memory import FleetMemory
from zorba_ray.memory.inventory import ClientMemory, client_memory
from zorba_ray.memory.method import Method, method_of
from zorba_ray.memory.plain_fleet import PlainFleetMemory
from zorba_ray.memory.workload import Workload, workload_of

AnyFleetMemory = FleetMemory | PlainFleetMemory

__all__ = [
    "AnyFleetMemory",
    "ClientMemory",
    "FleetMemory",
    "Method",
    "PlainFleetMemory",
    "Workload",
    "client_memory",
    "largest",
    "method_of",
    "parts_of",
    "require_within",
    "workload_of",
]
