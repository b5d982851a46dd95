"""One kit of tables for pages and terminals, and how numbers read in all of them. Light to import."""

from zorba_ray.tables.spread import Spread, wilson
from zorba_ray.tables.table import Cell, Column, Link, Table, with_interval

__all__ = ["Cell", "Column", "Link", "Spread", "Table", "wilson", "with_interval"]
