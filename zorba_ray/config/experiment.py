"""The whole experiment: one field per section, and the checks that span sections."""

from typing import Any

from pydantic import Field, SerializeAsAny, ValidationInfo, field_validator, model_validator

from zorba_ray.config.adversaries import AdversaryConfig, refuse_adversaries
from zorba_ray.config.aggregation import refuse_aggregation
from zorba_ray.config.allocation import AllocationConfig
from zorba_ray.config.base import StrictModel
from zorba_ray.config.data import DataConfig
from zorba_ray.config.federation import FederationConfig
from zorba_ray.config.memory import MemoryConfig
from zorba_ray.config.method import DEFAULT_METHOD, MethodSpec, NoSettings, load_method, method_names, with_published
from zorba_ray.config.migration import refuse_old_names
from zorba_ray.config.model import ModelConfig
from zorba_ray.config.numbers import numbers_digest, numbers_of
from zorba_ray.config.privacy import PrivacyConfig, require_private
from zorba_ray.config.task import DECODED, RowKind, TaskConfig, TaskName, is_reported
from zorba_ray.config.tracking import EvalConfig, TrackingConfig
from zorba_ray.config.zo import DirectionsConfig, ZOConfig


def _any_settings(schema: dict[str, Any]) -> None:
    """The JSON schema of `method_settings`: of each method of this package, or of one named by its module."""
    schema.pop("$ref", None)
    kinds = dict.fromkeys(load_method(name).Settings for name in method_names())
    schema["anyOf"] = [*(kind.model_json_schema() for kind in kinds), {"type": "object"}]


class ExperimentConfig(StrictModel):
    """One run of zorba-ray."""

    name: str = Field(default="run", max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Short name; the run directory is runs/NAME unless --run-dir says otherwise. Left out: the name of the file."""
    method: str = Field(default=DEFAULT_METHOD, max_length=200, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")
    """The federated method: a name of `zorba_ray.methods`, or the dotted path of a module that holds one. Settings that
    are left out are those that its authors published."""
    method_settings: SerializeAsAny[StrictModel] = Field(
        default=NoSettings(), validate_default=True, json_schema_extra=_any_settings
    )
    """What the method alone has to set, such as `lr` where it backpropagates: see its file."""
    rounds: int = Field(default=100, ge=1)
    """Rounds of the federation."""
    seed: int = Field(default=0, ge=0, lt=2**64)
    """Master seed: directions, partition, batches and participants all derive from it by counters."""
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    task: TaskConfig = TaskConfig()
    zo: ZOConfig = ZOConfig()
    directions: DirectionsConfig = DirectionsConfig()
    memory: MemoryConfig = MemoryConfig()
    allocation: AllocationConfig = AllocationConfig()
    federation: FederationConfig = FederationConfig()
    adversaries: tuple[AdversaryConfig, ...] = ()
    """Clients that attack the federation, for research. Every output of such a run says so."""
    privacy: PrivacyConfig | None = None
    """Differential privacy of clients. None: their reports have no noise."""
    eval: EvalConfig = EvalConfig()
    tracking: TrackingConfig = TrackingConfig()

    @model_validator(mode="before")
    @classmethod
    def _published(cls, data: Any) -> Any:
        return with_published(refuse_old_names(data)) if isinstance(data, dict) else data

    @field_validator("method")
    @classmethod
    def _there_is_such_a_method(cls, name: str) -> str:
        load_method(name)
        return name

    @field_validator("method_settings", mode="before")
    @classmethod
    def _as_the_method_has_them(cls, value: Any, info: ValidationInfo) -> Any:
        if "method" not in info.data:  # refused already
            return NoSettings()
        kind = load_method(info.data["method"]).Settings
        return kind.model_validate({} if value is None or type(value) is NoSettings else value)

    @property
    def spec(self) -> type[MethodSpec]:
        """The class of `method`."""
        return load_method(self.method)

    @property
    def local_steps(self) -> int:
        """K of the method: minibatches that a client takes in a round."""
        return self.spec.local_steps(self)

    @model_validator(mode="after")
    def _across_sections(self) -> "ExperimentConfig":
        if self.allocation.coverage > self.federation.clients:
            raise ValueError(
                f"allocation.coverage ({self.allocation.coverage}) asks for more clients per block than "
                f"federation.clients ({self.federation.clients})"
            )
        self.spec.refuse(self)
        if self.zo.rank is not None and self.model.lora is not None:
            raise ValueError(
                f"zo.rank={self.zo.rank} with model.lora: adapters take dense directions; set zo.rank=null"
            )
        if self.zo.scope == "lora" and self.model.lora is None:
            raise ValueError("zo.scope=lora: this model has no adapters; set model.lora, as in model.lora.rank=8")
        if len(set(self.allocation.order)) < len(self.allocation.order):
            raise ValueError(
                f"allocation.order {list(self.allocation.order)} must name each objective once: both objectives "
                "(convergence, vram), or time too"
            )
        require_private(self)
        if self.federation.authenticated and not (self.spec.scalar_reports and self.spec.commits == "scalars"):
            raise ValueError(
                f"federation.authenticated=true with method={self.method}: its ledger does not hold the reports, so "
                "that nobody could check their tags; set federation.authenticated=false, or method=zorba"
            )
        self.task.require_consistent(self.model.head)
        refuse_aggregation(self)
        refuse_adversaries(self.adversaries, self)
        if self.row_kind == "multiple_choice" and self.data.label_words:
            raise ValueError(
                f"data.label_words with task.kind={self.task_kind}: each row brings its own options; set "
                "data.label_words=[]"
            )
        if self.task_kind == "reward":
            self._require_no_loss()
        if self.data.label_shift and self.task_kind != "classification":
            raise ValueError(
                f"data.label_shift={self.data.label_shift:g} with task.kind={self.task_kind}: its loss has no labels "
                "that clients could have more or less of; set data.label_shift=0"
            )
        if self.data.batch_tokens is not None and self.row_kind == "multiple_choice":
            raise ValueError(
                f"data.batch_tokens={self.data.batch_tokens} with task.kind=multiple_choice: a row is read once per "
                "option, which it does not count; set data.batch_tokens=null and a smaller data.batch_size"
            )
        if self.data.batch_tokens is not None and self.spec.backward:
            raise ValueError(
                f"data.batch_tokens={self.data.batch_tokens} with method={self.method}: the memory of a method that "
                "backpropagates is counted for batches of data.batch_size rows; set data.batch_tokens=null"
            )
        if not self.reports(self.eval.metric):
            raise ValueError(
                f"eval.metric={self.eval.metric} with task.kind={self.task_kind}: it is never reported there; set "
                "eval.metric=loss"
            )
        if self.data.partition == "label_shards" and self.row_kind != "classification":
            raise ValueError(
                f"data.partition=label_shards with task.kind={self.task_kind}: its rows have no labels that could be "
                "dealt out; set data.partition=iid, or quantity_skew"
            )
        if self.data.label_shift_schedule != "constant" and not self.data.label_shift:
            raise ValueError(
                f"data.label_shift_schedule={self.data.label_shift_schedule} with data.label_shift=0: there is nothing "
                "that could fall; set data.label_shift, as in data.label_shift=1"
            )
        late = [change.round for change in self.federation.changes if change.round > self.rounds]
        if late:
            raise ValueError(f"federation.changes names round {late[0]}, the run ends with round {self.rounds}")
        # Where an active block costs the same bytes as a frozen one, no budget can bind: choosing by budget is void.
        memory = self.memory
        plain = memory.frozen == "device" and memory.frozen_format == "compute"
        if self.federation.fleet is not None and plain and (memory.master == "host" or memory.compute_dtype == "fp32"):
            raise ValueError(
                f"memory.frozen={memory.frozen}, memory.frozen_format={memory.frozen_format}, memory.master="
                f"{memory.master}, memory.compute_dtype={memory.compute_dtype}: an active block holds as many bytes as "
                "a frozen one, so no VRAM budget can bind; set memory.frozen_format=int8 or nf4, memory.frozen=host, "
                "or memory.master=device with a 16-bit memory.compute_dtype, or drop federation.fleet"
            )
        return self

    def _require_no_loss(self) -> None:
        """Raises ValueError: a setting that needs a loss, or its derivative or curvature, which a reward lacks."""
        if self.spec.backward:
            raise ValueError(
                f"task.kind=reward with method={self.method}: a reward has no derivative, and this method "
                "backpropagates; take one of forward passes alone, such as method=zorba, or a task with a loss"
            )
        if self.zo.directions_per == "example":
            raise ValueError(
                "zo.directions_per=example with task.kind=reward: a reward is known of the whole batch alone; set "
                "zo.directions_per=batch"
            )
        if self.data.batch_tokens is not None and self.row_kind in DECODED:
            raise ValueError(
                f"data.batch_tokens={self.data.batch_tokens} with task.kind=reward: what is written is none of the "
                "batch's tokens, and memory would hold more; set data.batch_tokens=null and a smaller data.batch_size"
            )
        if self.zo.scope == "auto":
            raise ValueError(
                "zo.scope=auto with task.kind=reward: the choice goes by the curvature of a loss, and a reward has "
                "none; name a scope, such as zo.scope=bias_norm"
            )

    @property
    def task_kind(self) -> TaskName:
        """`task.kind`, with what `auto` stands for."""
        return self.task.named(self.model.head)

    @property
    def row_kind(self) -> RowKind:
        """What a row is: `task_kind`, but of a reward the task whose answers it judges."""
        return self.task.row_kind(self.model.head)

    def reports(self, figure: str) -> bool:
        """Whether an evaluation of this run tells a figure: `loss`, `accuracy`, `reward`, …"""
        return is_reported(figure, self.task, self.row_kind)

    @property
    def attacked_text(self) -> str:
        """As '1 of 8 clients attack (adversaries: client 3: sign_flip, scale 100)'; empty where all are honest."""
        count = sum(len(entry.clients) for entry in self.adversaries)
        listing = "; ".join(entry.text for entry in self.adversaries)
        verb = "attacks" if count == 1 else "attack"
        return f"{count} of {self.federation.clients} clients {verb} (adversaries: {listing})" if count else ""

    @property
    def direction_groups(self) -> int:
        """G: directions beside each other in a full batch, one per group of examples; 0: the batch has one."""
        return -(-self.data.batch_size // self.zo.shared_by) if self.zo.shared_by else 0

    @property
    def passes_per_round(self) -> int:
        """Forward passes of a client in a round; a method that backpropagates makes as many backward ones beside."""
        return self.spec.forward_passes(self)

    @property
    def cost_per_round(self) -> int:
        """`passes_per_round`, a backward pass counted as two."""
        return self.passes_per_round * (3 if self.spec.backward else 1)

    @classmethod
    def open_sections(cls) -> dict[str, list[type[StrictModel]]]:
        return {"method_settings": list(dict.fromkeys(load_method(name).Settings for name in method_names()))}

    def resolved(self) -> dict[str, Any]:
        """All settings as JSON-ready values, defaults included."""
        return self.model_dump(mode="json")

    def differing(self) -> dict[str, Any]:
        """The settings that differ from the defaults, dotted key -> JSON-ready value."""
        found: dict[str, Any] = {}

        def walk(node: Any, default: Any, prefix: str) -> None:
            if isinstance(node, dict) and isinstance(default, dict):
                for key, child in node.items():
                    walk(child, default.get(key), f"{prefix}.{key}" if prefix else key)
            elif node != default:
                found[prefix] = node

        walk(self.resolved(), ExperimentConfig().resolved(), "")
        return found

    def numbers(self) -> dict[str, Any]:
        """The settings that change results, dotted key -> value."""
        return numbers_of(self.resolved())

    def digest(self) -> str:
        """SHA-256 (hex) of the settings that change results."""
        return numbers_digest(self.numbers())

    @property
    def fixed_length(self) -> str | None:
        """The setting that spreads something over all `rounds`, so that a longer run is another run from its first
        rounds on; None: a run can be extended."""
        spread = {
            f"{self.spec.steps_in}.schedule": getattr(self, self.spec.steps_in).schedule,
            "data.label_shift_schedule": self.data.label_shift_schedule,
        }
        if self.privacy is not None and self.privacy.noise_multiplier is None:
            spread["privacy.target_epsilon"] = f"{self.privacy.target_epsilon:g}"
        return next((f"{key}={value}" for key, value in spread.items() if value != "constant"), None)

    def began_as(self, digest: str) -> bool:
        """Whether `digest` is that of these settings with fewer `rounds`, of a run that can be extended."""
        numbers = self.numbers()
        return self.fixed_length is None and any(
            numbers_digest({**numbers, "rounds": rounds}) == digest for rounds in range(1, self.rounds)
        )
