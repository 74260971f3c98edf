"""Small saved adapters without a training, as this version writes them and as the first one did."""

import json
import re

import safetensors.torch
import torch
from torch import nn

from ipet.backbones import audio_spectrogram_transformer, wav2vec2
from ipet.checkpoint import read_json
from ipet.features import LogMel, Waveform
from ipet.heads import Classifier, LinearHead
from ipet.methods import apply_method
from ipet.names import WAV2VEC2
from ipet.tuning import trainable_parameters

SETTINGS = {"num_prompts": 2, "bottleneck": 4, "rank": 2, "num_prefixes": 3, "border": 4}
PEFTS = ("peft_type", "kind", "base_model_name_or_path", "revision", "task_type", "inference_mode")


def save_backbone(kind, folder):
    """Write a tiny random backbone as it would be published."""
    torch.manual_seed(0)
    if kind == "ast":
        audio_spectrogram_transformer.save_backbone(
            audio_spectrogram_transformer.build_ast(64, size="tiny"), folder
        )
    else:
        wav2vec2.save_backbone(wav2vec2.build_wav2vec2("tiny", model_type=kind), folder)


def tuned_model(backbone_folder, method):
    """A model of ``save_backbone``'s, and what a run says of it; what is trained is moved a little."""
    kind = read_json(backbone_folder / "config.json")
    kind = kind.get("model_type", kind.get("kind"))
    where = str(backbone_folder)
    if kind == "ast":
        backbone = audio_spectrogram_transformer.build_ast(64, pretrained=where)
        front_end = LogMel(128, 64, mean=-6.0, std=5.0)
    else:
        backbone = wav2vec2.build_wav2vec2(pretrained=where, model_type=kind)
        front_end = Waveform(64)
    settings = backbone.settings | {"pretrained": where, "sha256": backbone.sha256}
    apply_method(backbone, method, **SETTINGS)
    model = Classifier(front_end, backbone, LinearHead(backbone.width, 4)).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trainable_parameters(model).values():
            parameter.add_(0.02 * torch.randn_like(parameter))
    description = {
        "experiment": "ast_esc50",
        "labels": [{"mid": f"/m/{i:02d}", "name": f"class {i}"} for i in range(4)],
        "loss": "cce",
        "front_end": front_end.settings,
        "cut": {"num_samples": front_end.num_samples, "crop": "first", "zero_mean": True},
        "backbone": settings,
        "tuning": backbone.tuning,
        "metrics": {"epoch": 1},
        "chosen": "the last epoch",
    }
    return model, description


def libraries_name(own):
    """The first version's name of a tensor of wav2vec 2.0, from today's."""
    general = re.sub(r"\.(\d+)\.", ".{i}.", own.removeprefix("backbone."))
    number = (re.findall(r"\.(\d+)\.", own) or [""])[0]
    part, _, leaf = general.rpartition(".")
    if not own.startswith("backbone."):
        return own
    return f"backbone.model.{WAV2VEC2[part][0]}.{leaf}".replace("{i}", number)


def library_state(model: nn.Module):
    """What is trained, as the first version named it: by the library's names what it did not insert."""
    own = {id(parameter): name for name, parameter in trainable_parameters(model).items()}
    inserted = ("prompts.", "adapters.")
    return {
        own[id(p)] if own[id(p)].startswith(inserted) else name: p.detach().clone()
        for name, p in model.named_parameters()
        if p.requires_grad
    }


def save_first_schema(folder, model, description):
    """Write a run's adapter as the first version did."""
    folder.mkdir(parents=True)
    safetensors.torch.save_file(library_state(model), folder / "adapter.safetensors")
    (folder / "adapter.json").write_text(json.dumps({"schema": 1, **description}, indent=2) + "\n")


def formerly(folder):
    """Make a folder one of the first version, for which the names of IPET's tensors were the same."""
    config = json.loads((folder / "adapter_config.json").read_text())
    config = {"schema": 1, **{name: v for name, v in config.items() if name not in (*PEFTS, "schema")}}
    (folder / "adapter.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").rename(folder / "adapter.safetensors")
    (folder / "adapter_config.json").unlink()
