"""LoRA: W x + 2 B A x in the attention, B and A of rank r (Hu et al. 2022), by the PEFT library.

A is Kaiming-uniform and B zero, so that it starts silent. In wav2vec 2.0, HuBERT and WavLM queries and
values have one each, the choice of Hu et al. timm's ViT (AST) holds the projections of queries, keys and
values as one matrix, [3 D, D]: there one update of rank r, with one A for the three, changes it.
"""

from torch import nn

from ipet.methods.registry import register
from ipet.tuning import Tuning, freeze, library_layers, wrap_layers

TARGETS = ["qkv", "q_proj", "v_proj"]  # timm's; transformers'


@register("lora", sizes=("rank",))
def lora(backbone: nn.Module, rank: int) -> None:
    """Low-rank updates of the attention's projections, with factor alpha / r = 2.

    Raises:
        ValueError: PEFT is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
        from peft.tuners.lora import LoraLayer
    except ModuleNotFoundError:
        raise ValueError("method 'lora' needs the package: python3 -m pip install peft") from None
    layers = library_layers(backbone)
    # WavLM's own attention reads its projections' weights, and would pass by what is added to them.
    wrap_layers(freeze(backbone), Tuning())
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=TARGETS), backbone)
    for i, layer in enumerate(layers):
        for name, module in layer.named_modules():
            if isinstance(module, LoraLayer):
                target = name.split(".")[-1]
                module.lora_A["default"].trainable_name = f"lora.{i}.{target}.down"
                module.lora_B["default"].trainable_name = f"lora.{i}.{target}.up"
