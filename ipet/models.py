"""The whole model of an experiment: front end, backbone with a tuning method, head."""

from collections.abc import Callable, Mapping

from torch import nn

from ipet.augment import NoiseAndRoll, SpecAugment
from ipet.features import LogMel, Waveform
from ipet.heads import Classifier, LinearHead
from ipet.kinds import module_of
from ipet.methods import apply_method, solve_budget

Head = Callable[[int, int], nn.Module]  # (width of the backbone's embedding, classes) -> the head


def ast_classifier(
    num_classes: int,
    front_end: Mapping,
    masks: tuple[int, int],
    noise: bool,
    backbone: Mapping,
    method: Mapping,
    head: Head = LinearHead,
) -> Classifier:
    """Log-mels, AST with a tuning method, a head.

    Args:
        num_classes: C.
        front_end: keywords of ``LogMel``.
        masks: the most mels and frames that SpecAugment masks.
        noise: add noise to the log-mels in training, and roll them.
        backbone: keywords of ``build_ast``.
        method: keywords of ``tuned_classifier``.
        head: ``LinearHead`` or ``SpeakerHead``.
    """
    augment = {"masks": SpecAugment(*masks), "noise": NoiseAndRoll() if noise else None}
    built = module_of("ast").build(**backbone)
    return tuned_classifier(LogMel(**front_end, **augment), built, num_classes, head, **method)


def wav2vec2_classifier(
    num_classes: int, front_end: Mapping, backbone: Mapping, method: Mapping, head: Head = LinearHead
) -> Classifier:
    """The waveform, wav2vec 2.0 or another kind that hears it, with a tuning method, a head.

    Args:
        num_classes: C.
        front_end: keywords of ``Waveform``.
        backbone: its ``model_type`` (``auto``: that of the weights), and keywords of ``build`` of that kind's
            module; see ``ipet.kinds``.
        method: keywords of ``tuned_classifier``.
        head: ``LinearHead`` or ``SpeakerHead``.
    """
    kind = backbone["model_type"]
    built = module_of("wav2vec2" if kind == "auto" else kind).build(**backbone)
    return tuned_classifier(Waveform(**front_end), built, num_classes, head, **method)


def tuned_classifier(
    front_end: nn.Module,
    backbone: nn.Module,
    num_classes: int,
    head: Head,
    method: str,
    budget: int | None,
    settings: Mapping,
) -> Classifier:
    """Put a model together, its backbone tuned by a method.

    Args:
        method: a name from ``methods.METHODS``.
        budget: trainable parameters, the head's among them, for which the method's sizes are solved;
            None takes them from ``settings``.
        settings: of the method.

    Raises: see ``apply_method`` and ``solve_budget``.
    """
    on_top = head(backbone.width, num_classes)
    if budget is not None:
        num_parameters = sum(p.numel() for p in on_top.parameters())
        settings = solve_budget(backbone, method, budget, num_parameters, **settings)
    return Classifier(front_end, apply_method(backbone, method, **settings), on_top)
