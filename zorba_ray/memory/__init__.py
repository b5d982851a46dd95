"""What a client's accelerator holds."""

from zorba_ray.memory.inventory import ClientMemory, client_memory
from zorba_ray.memory.workload import Workload

__all__ = ["ClientMemory", "Workload", "client_memory"]
