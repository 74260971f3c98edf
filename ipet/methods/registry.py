"""The register of the methods, and how one of them is applied."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from ipet.running_statistics import freeze_statistics


@dataclass(frozen=True)
class Method:
    """A way to tune a backbone.

    Args:
        apply: (backbone, settings as keywords) changes the backbone in place; its keywords are the
            method's settings, their defaults among them.
        sizes: the settings that a budget of parameters can choose.
        largest: the backbone -> the largest value of the sizes; None where there is no such limit.
    """

    apply: Callable
    sizes: tuple[str, ...] = ()
    largest: Callable[[nn.Module], int] | None = None

    @property
    def settings(self) -> dict:
        """Every setting and its default; a size has none (``inspect.Parameter.empty``)."""
        parameters = list(inspect.signature(self.apply).parameters.values())[1:]
        return {parameter.name: parameter.default for parameter in parameters}


METHODS: dict[str, Method] = {}


def register(name: str, sizes: tuple[str, ...] = (), largest: Callable | None = None) -> Callable:
    """Register the decorated function as a method's ``apply``; see ``Method``."""

    def add(apply: Callable) -> Callable:
        """Enter the function, and leave it as it is."""
        METHODS[name] = Method(apply, sizes, largest)
        return apply

    return add


def find_method(name: str, settings: dict) -> Method:
    """The method of that name.

    Raises:
        ValueError: there is none.
        TypeError: one of ``settings`` is not a setting of any method.
    """
    if name not in METHODS:
        raise ValueError(f"the method is {name!r}; accepted: {', '.join(METHODS)}")
    known = {setting for method in METHODS.values() for setting in method.settings}
    unknown = sorted(settings.keys() - known)
    if unknown:
        raise TypeError(f"no method has a setting {unknown[0]!r}; accepted: {', '.join(sorted(known))}")
    return METHODS[name]


def apply_method(backbone: nn.Module, method: str, **settings) -> nn.Module:
    """Tune a backbone by a method, in place.

    Args:
        backbone: fresh from ``build_ast`` or ``build_wav2vec2``.
        method: a name from ``METHODS``.
        settings: of any method; those of other methods are left aside.

    Returns:
        ``backbone``, with ``frozen`` (whether it stays as it was pretrained) and ``tuning`` (the
        method's name and every setting it used, as JSON values) as attributes.

    Raises:
        ValueError: an unknown method, a size below 1, a value that the method refuses, a backbone
            that it does not go with or that is tuned already.
        TypeError: an unknown setting, or a size that is missing.
    """
    chosen = find_method(method, settings)
    if hasattr(backbone, "tuning"):
        raise ValueError(f"the backbone is tuned already ({backbone.tuning}); expected a fresh one")
    used = {name: settings.get(name, default) for name, default in chosen.settings.items()}
    for size in chosen.sizes:
        if used[size] is inspect.Parameter.empty:
            raise TypeError(f"method {method!r} needs the setting {size}")
        if used[size] < 1:
            raise ValueError(f"method {method!r}: {size} is {used[size]}; expected 1 or more")
    chosen.apply(backbone, **used)
    # A saved adapter holds parameters alone, of fine-tuning, too: the pretrained statistics stay.
    freeze_statistics(backbone)
    backbone.tuning = {"method": method, **used}
    return backbone
