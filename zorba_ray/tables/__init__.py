"""Tables for pages and terminals, and the format of numbers in them. Quick to import."""

from zorba_ray.tables.spread import Spread, wilson
from zorba_ray.tables.table import Cell, Column, Link, Table, with_interval

__all__ = ["Cell", "Column", "Link", "Spread", "Table", "wilson", "with_interval"]
