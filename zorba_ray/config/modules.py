"""How a setting names a class: by a module of a package of zorba_ray, or by the dotted path of a module of the user's.

No registry is needed, and a Ray worker finds the class in the same way as the driver.
"""

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Sequence


def modules_of(package: str) -> tuple[str, ...]:
    """The names of the modules of a package, sorted. This imports none of them."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    return tuple(sorted(item.name for item in pkgutil.iter_modules(spec.submodule_search_locations) if not item.ispkg))


def class_named(name: str, package: str, known: Sequence[str], base: type, what: str, setting: str) -> type:
    """The class of a module.

    Args:
        name: a module of `package`, or a dotted path.
        known: the modules of `package`, in the order in which a message lists them.
        base: what the class is derived from.
        what, setting: words for messages: what is named, and by which setting, as in "attack" and "kind".

    Raises:
        ValueError: no such name or module, or a module without exactly one such class.
    """
    if "." not in name and name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise ValueError(
            f"unknown {what}; known {what}s are {', '.join(known)}; for your own {what} write its module, as in "
            f"{setting}=my_lab.my_{what}" + (f"; did you mean {near[0]}?" if near else "")
        )
    path = name if "." in name else f"{package}.{name}"
    try:
        module = importlib.import_module(path)
    except Exception as error:  # a foreign module may raise anything
        raise ValueError(
            f"the module {path} cannot be imported ({type(error).__name__}: {error}): install it, or put its folder on "
            "PYTHONPATH, on the machines of the workers as well"
        ) from error
    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, base) and kind.__module__ == path
    ]
    if len(kinds) != 1:
        called = base.__name__.removesuffix("Spec")
        raise ValueError(f"the module {path} defines {len(kinds)} subclasses of {called}; it must define exactly one")
    return kinds[0]
