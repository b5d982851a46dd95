"""What a client's accelerator holds."""

from zorba_ray.memory.inventory import ClientMemory, Workload, client_memory

__all__ = ["ClientMemory", "Workload", "client_memory"]
