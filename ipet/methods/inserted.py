"""Methods that insert prompts, adapters or prefixes into every layer; ``ipet.tuning`` has the equations."""

from torch import nn

from ipet.methods.registry import register
from ipet.tuning import Tuning, tune


@register("ipet", sizes=("num_prompts", "bottleneck"))
def ipet(
    backbone: nn.Module,
    num_prompts: int,
    bottleneck: int,
    scale: float = 0.1,
    dropout: float = 0.1,
    residual: bool = False,
    init: str = "zero",
    position: str = "parallel",
) -> None:
    """Embedding prompts and adapters."""
    tune(backbone, Tuning(num_prompts, bottleneck, scale, dropout, residual, init, position))


@register("prompt", sizes=("num_prompts",))
def prompt(backbone: nn.Module, num_prompts: int) -> None:
    """Embedding prompts alone, as in deep visual prompt tuning (Jia et al. 2022)."""
    tune(backbone, Tuning(num_prompts=num_prompts))


@register("adapter", sizes=("bottleneck",))
def adapter(
    backbone: nn.Module,
    bottleneck: int,
    position: str = "parallel",
    scale: float = 0.1,
    dropout: float = 0.1,
    residual: bool = False,
    init: str = "zero",
) -> None:
    """Adapters alone (He et al. 2022; with ``position="houlsby"`` Houlsby et al. 2019)."""
    tune(backbone, Tuning(0, bottleneck, scale, dropout, residual, init, position))


@register("prefix", sizes=("num_prefixes",))
def prefix(backbone: nn.Module, num_prefixes: int) -> None:
    """Prefix tuning (Li and Liang 2021), the prefixes learnt as they are, without an MLP before them."""
    tune(backbone, Tuning(num_prefixes=num_prefixes))
