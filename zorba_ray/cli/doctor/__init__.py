"""`zorba-ray doctor`."""

from zorba_ray.cli.doctor.command import doctor

__all__ = ["doctor"]
