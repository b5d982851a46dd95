"""Compares methods with the same data, batch size, seeds and forward passes."""

from zorba_ray.campaigns.comparison.cells import ladder_of, plan_comparison
from zorba_ray.campaigns.comparison.plan import ComparisonPlan
from zorba_ray.campaigns.comparison.run import judge_machines, open_comparison, run_comparison

__all__ = ["ComparisonPlan", "judge_machines", "ladder_of", "open_comparison", "plan_comparison", "run_comparison"]
