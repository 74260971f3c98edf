"""How large a method can be within a number of trained parameters."""

import copy
import functools
import itertools
import math

import torch
from torch import nn

from ipet.methods.registry import METHODS, apply_method, find_method
from ipet.tuning import count_parameters


def solve_budget(backbone: nn.Module, method: str, budget: int, head_parameters: int, **settings) -> dict:
    """Choose a method's sizes so that as much is trained as a budget allows, and never more.

    Where a method has two sizes (``ipet``), they keep the ratio that they have in ``settings`` as
    nearly as whole numbers can that use the budget up.

    Args:
        backbone: untuned; it is not changed, and its weights are not looked at.
        method: a name from ``METHODS``.
        budget: trained parameters, the head's among them.
        head_parameters: how many of them are the head's.
        settings: as for ``apply_method``.

    Returns:
        ``settings`` with the sizes in it.

    Raises:
        ValueError: the method has no size, or its smallest one exceeds the budget.
        TypeError: an unknown setting; for a method with two sizes, one that is missing.
    """
    chosen = find_method(method, settings)
    if not chosen.sizes:
        sized = ", ".join(name for name, other in METHODS.items() if other.sizes)
        raise ValueError(f"method {method!r} has no size that a budget could choose; accepted: {sized}")
    ratio = ratio_of(method, settings)
    largest = math.inf if chosen.largest is None else chosen.largest(backbone)
    bare = skeleton(backbone)

    @functools.cache
    def trained(sizes: tuple[int, ...]) -> float:
        """How many parameters these sizes train; infinitely many where they are impossible."""
        if max(sizes) > largest:
            return math.inf
        with torch.device("meta"):
            tuned = apply_method(copy.deepcopy(bare), method, **settings | dict(zip(chosen.sizes, sizes)))
        return head_parameters + count_parameters(tuned)[0]

    def fits(k: int) -> bool:
        """Whether the k-th sizes along the ratio keep to the budget."""
        return trained(sizes_along(ratio, k)) <= budget

    if not fits(1):
        least = trained(sizes_along(ratio, 1))
        raise ValueError(
            f"method {method!r} trains at least {least:,} parameters, {head_parameters:,} of them in the "
            f"head; the budget is {budget:,}"
        )
    low, high = 1, 2  # fits(low) holds, and in the end fits(high) does not
    while fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    base = sizes_along(ratio, low)
    # One more of the smaller kind may still fit where one of each does not.
    more = itertools.product(range(3), repeat=len(base)) if len(base) > 1 else [(0,)]
    near = [tuple(size + extra for size, extra in zip(base, extras)) for extras in more]
    best = max((sizes for sizes in near if trained(sizes) <= budget), key=trained)
    return settings | dict(zip(chosen.sizes, best))


def ratio_of(method: str, settings: dict) -> tuple[int, ...]:
    """The sizes' ratio in whole numbers without a common factor; (1,) for a single size.

    Raises:
        TypeError: one of several sizes is missing.
        ValueError: one of them is below 1.
    """
    names = METHODS[method].sizes
    if len(names) == 1:
        return (1,)
    for name in names:
        if name not in settings:
            raise TypeError(f"method {method!r} needs {' and '.join(names)}, whose ratio is kept; no {name}")
        if settings[name] < 1:
            raise ValueError(f"method {method!r}: {name} is {settings[name]}; expected 1 or more")
    sizes = [settings[name] for name in names]
    return tuple(size // math.gcd(*sizes) for size in sizes)


def sizes_along(ratio: tuple[int, ...], k: int) -> tuple[int, ...]:
    """The sizes t times ``ratio``, rounded and at least 1, for t = k / (2 times the ratio's product).

    Every t at which one of them changes is such a k: the halves of whole numbers, divided by the ratio.
    """
    product = math.prod(ratio)
    return tuple(max(1, (k * part + product) // (2 * product)) for part in ratio)


def skeleton(backbone: nn.Module) -> nn.Module:
    """A copy of a backbone with the shapes of its tensors alone."""
    memo = {id(p): nn.Parameter(torch.empty_like(p, device="meta")) for p in backbone.parameters()}
    memo |= {id(b): torch.empty_like(b, device="meta") for b in backbone.buffers()}
    return copy.deepcopy(backbone, memo)
