"""Refusal of ``model.save_pretrained`` for tuned models of transformers.

Its folder would hold the tensors of wrapped layers, which ``from_pretrained`` does not know: the model would
come back with random layers. transformers offers no hook for saving, but torch has one for ``state_dict``,
which ``save_pretrained`` calls.
"""

import sys

from torch import nn

SAVE, TRAINER = "save_pretrained", "transformers.trainer"


def refuse_save_pretrained(model: nn.Module) -> None:
    """Let ``save_pretrained`` of a tuned model raise an error that names ``ipet.save_tuned``.

    transformers' ``Trainer`` still writes its checkpoints by it, from which it resumes.
    """
    for module in model.modules():
        if hasattr(module, SAVE):
            module.register_state_dict_pre_hook(check_caller)


def check_caller(model: nn.Module, prefix: str, keep_vars: bool) -> None:
    """Raise ValueError where ``state_dict`` is called by ``save_pretrained``; a state-dict pre-hook."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("torch.nn"):
        frame = frame.f_back  # the call of this hook, and of the modules around this one
    if frame is None or frame.f_code.co_name != SAVE:
        return
    if frame.f_back is not None and frame.f_back.f_globals.get("__name__") == TRAINER:
        return
    raise ValueError(
        f"{type(model).__name__}.save_pretrained: a tuned model would be read back with random layers; "
        "expected ipet.save_tuned(model, folder), and ipet.load_tuned(model, folder) for a fresh model"
    )
