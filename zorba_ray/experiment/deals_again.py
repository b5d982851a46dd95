"""The deals of a run at the start of a session: those of allocation.json where they hold, else made again.

Made again means: solved, rotated and probed as they were, from the settings and, for a probe, from a replica brought
to the round before which the clients were asked. Answers are functions of (θ, plan, data), so they come out the same.
Each deal is held against the ledger, whose commits name the active sets that the rounds were made with. Where a solver
answers otherwise than it did (its time was up, or it is of another version), the ledger's sets are taken.
"""

from collections.abc import Callable, Mapping, Sequence

from zorba_ray.errors import LedgerError, RunDirError
from zorba_ray.experiment.allocation_file import read_allocation
from zorba_ray.experiment.build import Setup, build_host, host_store, load_task_model
from zorba_ray.experiment.deals import Deals
from zorba_ray.experiment.rundir import RunDir
from zorba_ray.federation import Answer, ClientHost
from zorba_ray.protocol.ledger import LedgerContents
from zorba_ray.protocol.messages import decode_question


def resume_deals(
    setup: Setup, run: RunDir, accelerator: str, contents: LedgerContents, note: Callable[[str], None]
) -> Deals:
    """The deals up to the end of a ledger, from which the next ones follow as in an undisturbed run.

    Args:
        note: is told where the file was passed over.

    Raises:
        LedgerError: they cannot be made again.
        AllocationInfeasible: the solver finds none any more, in its time.
    """
    try:
        deals = Deals(setup, run, read_allocation(run, contents))
        fault = deals.fault(contents)
    except (LedgerError, RunDirError) as error:
        fault = str(error)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        fault = f"{run.allocation} has another form ({type(error).__name__}: {error})"
    else:
        if fault is None:
            return deals
        fault = f"{run.allocation}: {fault}"
    deals, taken = _made_again(setup, run, accelerator, contents)
    deals.write()
    note(f"allocation.json is passed over ({fault}); its deals were made again, and are those of the ledger")
    if taken:
        rounds = ", ".join(map(str, taken))
        note(f"allocation.json: the solver answers otherwise than for round {rounds}: the ledger's active sets hold")
    return deals


def _made_again(setup: Setup, run: RunDir, accelerator: str, contents: LedgerContents) -> tuple[Deals, list[int]]:
    """The deals, and the rounds for which the ledger's active sets replaced those that were dealt."""
    deals, clients, taken = Deals.begin(setup, run, accelerator), _Clients(setup, accelerator, contents), []
    said, held = contents.active_changes(), b""
    for number in range(1, contents.last_round + 1):
        new = deals.deal(number, contents.chain_after(number - 1), clients.ask)
        held = said.get(number, held)
        if new is None and number not in said and number > 1:
            continue
        if deals.packed(number) == held:
            continue
        if deals.record["probes"]:
            raise LedgerError(
                f"{run.allocation} is missing, damaged or not of this ledger, and the deal of round {number} does not "
                "come out as the ledger says when it is made again: the probe that it rests on had other answers, as "
                "when a client was late. Put back the file that the run wrote; the ledger itself is whole, and "
                "`zorba-ray replay` reads it"
            )
        deals.take(number, held)
        taken.append(number)
    return deals, taken


class _Clients:
    """All clients in this process, on a replica of their own that follows the ledger; loaded when first asked."""

    def __init__(self, setup: Setup, accelerator: str, contents: LedgerContents) -> None:
        self._setup, self._accelerator, self._contents = setup, accelerator, contents
        self._host: ClientHost | None = None

    def ask(self, plan: bytes, clients: Sequence[int]) -> Mapping[int, Answer]:
        """As `Backend.ask`, before the round that the plan names.

        Raises:
            LedgerError: the clients computed on GPUs, and there is none here.
        """
        setup = self._setup
        if self._host is None:
            if self._accelerator == "cuda" and setup.model.device != "cuda":
                raise LedgerError(
                    "allocation.json is missing, damaged or not of this ledger, and its probe was made on GPUs that "
                    "this process does not have: put back the file that the run wrote"
                )
            model = load_task_model(
                setup.config, setup.model.device, store=host_store(setup.config, setup.model.device)
            )
            self._host = build_host(setup.config, setup.header, model)
            self._host.load_shards(setup.shards)
        state, number = self._host.state, decode_question(plan).round
        state.catch_up(record.body for record in self._contents.records[state.round : number - 1])
        return self._host.answer(plan, clients)
