"""Assigns blocks to clients, round by round: the fleet, its allocation problem, the probe, the schedule."""

from zorba_ray.assignment.fleet import Client, FleetSchedule
from zorba_ray.assignment.probe import Ask, run_probe
from zorba_ray.assignment.problem import AssignmentInputs, energies_of, problem_of
from zorba_ray.assignment.record import allocation_record, front_record, what_if_record
from zorba_ray.assignment.schedule import AssignmentSchedule
from zorba_ray.assignment.solve import Solved, probe_decides, solve

__all__ = [
    "Ask",
    "AssignmentInputs",
    "AssignmentSchedule",
    "Client",
    "FleetSchedule",
    "Solved",
    "allocation_record",
    "energies_of",
    "front_record",
    "probe_decides",
    "problem_of",
    "run_probe",
    "solve",
    "what_if_record",
]
