"""The fields of ray.io/v1 RayCluster and RayJob that our manifests use, as a strict schema of our own.

Names and types were read from KubeRay v1.7.0 (ray-operator/config/crd/bases, commit feeaf72f). It covers what is used
here and nothing more: a field that is not in the table is refused, known to KubeRay or not, so that it is looked
up before it is used. `tests/unit/test_cluster_files.py` also validates against the whole CRDs where ZORBA_KUBERAY_CRDS
names a folder with ray.io_rayclusters.yaml and ray.io_rayjobs.yaml.
"""

from typing import Any

Schema = dict[str, Any]


def _object(required: str = "", **fields: Schema) -> Schema:
    """Only these fields; `_` at a name's end is dropped."""
    properties = {name.rstrip("_"): field for name, field in fields.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
QUANTITIES: Schema = {
    "type": "object",
    "additionalProperties": {"anyOf": [WHOLE, {"type": "string", "pattern": r"^[0-9.]+([EPTGMk]i?|m)?$"}]},
}
METADATA = _object("name", name=TEXT, namespace=TEXT, labels=TEXTS, annotations=TEXTS)

CONTAINER = _object(
    "name image resources",
    name=TEXT,
    image=TEXT,
    env=_list(
        _object(
            "name",
            name=TEXT,
            value=TEXT,
            valueFrom=_object("secretKeyRef", secretKeyRef=_object("name key", name=TEXT, key=TEXT, optional=FLAG)),
        )
    ),
    resources=_object("requests limits", requests=QUANTITIES, limits=QUANTITIES),
    volumeMounts=_list(_object("name mountPath", name=TEXT, mountPath=TEXT)),
)
VOLUME = _object(
    "name",
    name=TEXT,
    persistentVolumeClaim=_object("claimName", claimName=TEXT),
    emptyDir=_object(medium=TEXT, sizeLimit=TEXT),
)
POD = _object(
    "spec",
    metadata=_object(labels=TEXTS),
    spec=_object(
        "containers",
        automountServiceAccountToken=FLAG,
        securityContext=_object(runAsNonRoot=FLAG, runAsUser=WHOLE, fsGroup=WHOLE),
        containers=_list(CONTAINER),
        volumes=_list(VOLUME),
    ),
)
CLUSTER_SPEC = _object(
    "rayVersion authOptions headGroupSpec",
    rayVersion=TEXT,
    authOptions=_object("mode", mode={"enum": ["token"]}),
    headGroupSpec=_object("template", serviceType={"enum": ["ClusterIP"]}, rayStartParams=TEXTS, template=POD),
    workerGroupSpecs=_list(
        _object(
            "groupName template",
            groupName=TEXT,
            replicas=WHOLE,
            minReplicas=WHOLE,
            maxReplicas=WHOLE,
            rayStartParams=TEXTS,
            template=POD,
        )
    ),
)


def _resource(kind: str, spec: Schema) -> Schema:
    return _object(
        "apiVersion kind metadata spec",
        apiVersion={"const": "ray.io/v1"},
        kind={"const": kind},
        metadata=METADATA,
        spec=spec,
    )


RAYCLUSTER = _resource("RayCluster", CLUSTER_SPEC)
RAYJOB = _resource(
    "RayJob",
    _object(
        "entrypoint rayClusterSpec",
        entrypoint=TEXT,
        backoffLimit=WHOLE,
        submitterConfig=_object(backoffLimit=WHOLE),
        activeDeadlineSeconds=WHOLE,
        shutdownAfterJobFinishes=FLAG,
        ttlSecondsAfterFinished=WHOLE,
        rayClusterSpec=CLUSTER_SPEC,
    ),
)
