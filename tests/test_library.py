"""ipet.tune on models of timm and transformers: what it computes, what is trained, files."""

import copy
import json

import pytest
import safetensors.torch
import timm
import torch
import transformers
from torch import nn

import ipet
from ipet.backbones.wav2vec2 import SIZES
from ipet.description import CONFIG, WEIGHTS
from ipet.library import tuned_state
from ipet.saved import migrate
from ipet.tuning import library_layers, tuned_layers

SPEECH = {**SIZES["tiny"], "num_labels": 3, "layerdrop": 0.0}
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}
SEW = {"conv_dim": (16,) * 3, "conv_kernel": (10, 8, 8), "conv_stride": (5, 8, 8), "squeeze_factor": 2}
DATA2VEC = {"conv_pos_kernel_size": 3, "num_conv_pos_embeddings": 2}
SPECTROGRAM = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 96,
    "max_length": 64,
    "num_mel_bins": 32,
    "num_labels": 3,
}
WHISPER = {
    "d_model": 48,
    "encoder_layers": 2,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 96,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 48,
    "num_mel_bins": 16,
    "max_source_positions": 50,
    "vocab_size": 20,
    "pad_token_id": 0,
    "num_labels": 3,
}


def vit():
    size = {"img_size": (32, 64), "patch_size": 16, "embed_dim": 48, "depth": 2, "num_heads": 2}
    return timm.models.VisionTransformer(in_chans=1, num_classes=3, **size), torch.randn(2, 1, 32, 64)


def deit():
    size = {"img_size": (32, 64), "patch_size": 16, "embed_dim": 48, "depth": 2, "num_heads": 2}
    model = timm.models.deit.VisionTransformerDistilled(in_chans=1, num_classes=3, **size)
    return model, torch.randn(2, 1, 32, 64)


def speech(name, **more):
    def build():
        config = getattr(transformers, f"{name}Config")(**{**SPEECH, **more})
        model = getattr(transformers, f"{name}ForSequenceClassification")(config)
        return model, 0.1 * torch.randn(2, 8_000)

    return build


def spectrogram():
    model = transformers.ASTForAudioClassification(transformers.ASTConfig(**SPECTROGRAM))
    return model, torch.randn(2, 64, 32)


def whisper():
    model = transformers.WhisperForAudioClassification(transformers.WhisperConfig(**WHISPER))
    return model, torch.randn(2, 16, 100)


MODELS = {
    "ViT": (vit, ["head"]),
    "DeiT": (deit, ["head", "head_dist"]),
    "wav2vec 2.0": (speech("Wav2Vec2"), ["projector", "classifier"]),
    "wav2vec 2.0 large": (speech("Wav2Vec2", **LARGE), ["projector", "classifier"]),
    "HuBERT": (speech("Hubert"), ["projector", "classifier"]),
    "HuBERT large": (speech("Hubert", **LARGE), ["projector", "classifier"]),
    "WavLM": (speech("WavLM"), ["projector", "classifier"]),
    "WavLM large": (speech("WavLM", **LARGE), ["projector", "classifier"]),
    "UniSpeech": (speech("UniSpeech"), ["projector", "classifier"]),
    "UniSpeech-SAT large": (speech("UniSpeechSat", **LARGE), ["projector", "classifier"]),
    "data2vec": (speech("Data2VecAudio", **DATA2VEC), ["projector", "classifier"]),
    "SEW": (speech("SEW", **SEW), ["projector", "classifier"]),
    "AST": (spectrogram, ["classifier"]),
    "Whisper": (whisper, ["projector", "classifier"]),
}
each_model = pytest.mark.parametrize("name", MODELS)


def build(name):
    torch.manual_seed(0)
    model, x = MODELS[name][0]()
    return model.eval(), x


def logits(model, x):
    out = model(x)
    out = getattr(out, "logits", out)
    return out[0] if isinstance(out, tuple) else out


def moved(model):
    """Let everything inserted do something, as after a training."""
    with torch.no_grad():
        for tensor in tuned_state(model).values():
            if tensor.is_floating_point():
                tensor.add_(0.3 * torch.randn_like(tensor))
    return model


# ------------------------------------------------------------------------------------- what it computes


@each_model
def test_new_adapters_change_nothing(name):
    model, x = build(name)
    with torch.no_grad():
        before = logits(model, x)
        after = logits(ipet.tune(model, num_prompts=0, bottleneck=4), x)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in MODELS if not name.startswith("WavLM")])
def test_a_layer_with_prompts_is_the_librarys_on_prompts_and_tokens(name):
    model, _ = build(name)
    plain = copy.deepcopy(library_layers(ipet.tune(copy.deepcopy(model), 0, 4) and model)[0])
    [tuned, *_] = tuned_layers(ipet.tune(model, num_prompts=3, bottleneck=0))
    x = torch.randn(2, 7, 48)
    prompted = torch.cat([tuned.prompt.expand(2, -1, -1), x], dim=1)  # [P ; x]
    more = (None,) if name in ("AST", "Whisper") else ()
    with torch.no_grad():
        expected = plain(prompted, *more)[:, 3:]
        torch.testing.assert_close(tuned(x, *more), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["WavLM", "WavLM large"])
def test_wavlms_prompts_have_no_distance(name):
    model, _ = build(name)
    plain = copy.deepcopy(library_layers(model)[0])
    [tuned, *_] = tuned_layers(ipet.tune(model, num_prompts=3, bottleneck=0))
    bias = plain.attention.compute_bias(7, 7).repeat(2, 1, 1)  # [B H, T, T]
    x = torch.randn(2, 7, 48)
    with torch.no_grad():
        tuned.prompt.copy_(torch.randn_like(tuned.prompt))
        prompted = torch.cat([tuned.prompt.expand(2, -1, -1), x], dim=1)
        padded = nn.functional.pad(bias, (3, 0, 3, 0))  # no bias from or to a prompt
        expected = plain(prompted, position_bias=padded)[0][:, 3:]
        torch.testing.assert_close(tuned(x, position_bias=bias)[0], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("ViT", "DeiT")])
def test_the_hidden_states_are_those_of_the_tuned_layers(name):
    model, x = build(name)
    moved(ipet.tune(model, num_prompts=2, bottleneck=4))
    heard = []
    for layer in tuned_layers(model):
        layer.register_forward_hook(
            lambda _, args, out: heard.append(out[0] if isinstance(out, tuple) else out)
        )
    with torch.no_grad():
        states = model(x, output_hidden_states=True).hidden_states
    assert len(states) == 3
    torch.testing.assert_close(states[1], heard[0])


@pytest.mark.parametrize("name", ["wav2vec 2.0", "wav2vec 2.0 large", "WavLM", "AST", "Whisper"])
def test_checkpointing_of_activations_gives_the_same_gradients(name):
    gradients = []
    for checkpointing in (False, True):
        model, x = build(name)
        moved(ipet.tune(model, num_prompts=2, bottleneck=4, dropout=0.0))
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        model.config.mask_time_prob = 0.0
        for key in ("attention_dropout", "activation_dropout", "hidden_dropout", "dropout"):
            for module in model.modules():
                if isinstance(getattr(module, key, None), float):
                    setattr(module, key, 0.0)
        if checkpointing:
            model.gradient_checkpointing_enable()
            assert all(layer.layer.gradient_checkpointing for layer in tuned_layers(model))
        logits(model.train(), x).square().sum().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.requires_grad})
    torch.testing.assert_close(*gradients)


# ------------------------------------------------------------------------------------- what is trained


@each_model
def test_prompts_adapters_and_the_head_are_trained_and_nothing_else(name):
    model, x = build(name)
    heads = MODELS[name][1]
    expected = sum(p.numel() for head in heads for p in model.get_submodule(head).parameters())
    expected += 2 * (3 * 48 + 2 * 48 * 4 + 4 + 48)  # layers (prompts, down and up, their biases)
    ipet.tune(model, num_prompts=3, bottleneck=4)
    assert model.tuning["train"] == heads or set(model.tuning["train"]) == set(heads)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert sum(p.numel() for p in trained.values()) == expected
    logits(moved(model), x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trained.values() if p.numel() > 1)
    assert all(p.grad is None for n, p in model.named_parameters() if n not in trained)


def test_parts_are_trained_by_their_names():
    model, _ = build("ViT")
    ipet.tune(model, train=["norm", "cls_token"])
    named = {name.split(".")[0] for name in tuned_state(model)}
    assert named == {"prompts", "adapters", "norm", "cls_token"} and not model.head.weight.requires_grad
    assert model.cls_token.requires_grad


def test_a_part_that_is_not_there_is_refused_before_anything_is_frozen():
    model, _ = build("AST")
    with pytest.raises(
        ValueError, match=r"no part 'head' to train; it has audio_spectrogram_transformer, cl"
    ):
        ipet.tune(model, train=["head"])
    assert all(p.requires_grad for p in model.parameters()) and not tuned_layers(model)


def test_a_model_of_ones_own_around_a_backbone():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone, self.head = vit()[0], nn.Linear(3, 2)

    assert {name.split(".")[0] for name in tuned_state(ipet.tune(Net(), 2, 4))} == {"prompts", "adapters"}
    assert "head.weight" in tuned_state(ipet.tune(Net(), 2, 4, train=["head"]))


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda m: ipet.tune(m, 0, 0), "nothing would be inserted"),
        (lambda m: ipet.tune(ipet.tune(m)), "is tuned already"),
        (lambda m: ipet.tune(m, init="ones"), "init is 'ones'; accepted: zero, normal"),
        (lambda m: ipet.save_tuned(m, "x"), "was not tuned by ipet.tune"),
    ],
)
def test_what_cannot_be_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        change(build("ViT")[0])


def test_a_model_without_known_layers_is_refused_with_those_that_are_known():
    with pytest.raises(
        TypeError, match=r"Linear holds no layer to tune; known kinds: timm\..*WhisperEncoderLayer"
    ):
        ipet.tune(nn.Linear(2, 2))


# ------------------------------------------------------------------------------------- files


@each_model
def test_what_is_saved_gives_a_fresh_model_the_same_logits(name, tmp_path):
    model, x = build(name)
    moved(ipet.tune(model, num_prompts=2, bottleneck=4, position="houlsby", scale=1.0, num_prefixes=1))
    ipet.save_tuned(model, tmp_path)
    fresh, _ = build(name)
    ipet.load_tuned(fresh, tmp_path).eval()
    with torch.no_grad():
        assert torch.equal(logits(fresh, x), logits(model, x))


def test_a_batch_norm_of_the_head_is_saved_too(tmp_path):
    def built():
        model = build("ViT")[0]
        model.head = nn.Sequential(nn.BatchNorm1d(48), nn.Linear(48, 3))
        return model

    model, x = built(), build("ViT")[1]
    ipet.tune(model, train=["head"])
    model.train()(x)
    assert model.head[0].running_mean.abs().sum() > 0
    ipet.save_tuned(model.eval(), tmp_path)
    fresh = built()
    with torch.no_grad():
        fresh.head[1].load_state_dict(model.head[1].state_dict())
        assert torch.equal(ipet.load_tuned(fresh, tmp_path).eval()(x), model(x))


def test_the_files_are_small_and_named_as_pefts(tmp_path):
    model, _ = build("wav2vec 2.0")
    ipet.save_tuned(ipet.tune(model, 2, 4), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [CONFIG, WEIGHTS]
    names = set(safetensors.torch.load_file(tmp_path / WEIGHTS))
    assert {"prompts.0", "prompts.1", "adapters.1.down.weight", "classifier.bias"} <= names
    assert not any("wav2vec2" in name or "layers" in name for name in names)


def forged(**changes):
    def change(folder):
        config = json.loads((folder / CONFIG).read_text())
        for name, value in changes.items():
            (config if name in config else config["tuning"])[name] = value
        (folder / CONFIG).write_text(json.dumps(config))

    return change


@pytest.mark.parametrize(
    "damage, said",
    [
        (forged(peft_type="LORA"), r"adapter_config\.json: peft_type is 'LORA'; expected 'IPET'"),
        (forged(schema=3), "schema 3; this version reads 1 and 2"),
        (forged(kind="run"), r"a run wrote it; it is read by ipet\.load\(folder\) and python3 -m ipet"),
        (
            lambda folder: (folder / CONFIG).replace(folder / "adapter.json").write_text('{"schema": 1}'),
            r"adapter\.json: a run wrote it",
        ),
        (forged(num_prompts=10**9), "num_prompts is 1000000000, of the tensors 2"),
        (forged(bottleneck=10**9), "bottleneck is 1000000000, of the tensors 4"),
        (forged(num_prefixes=10**9), "num_prefixes is 1000000000, of the tensors 0"),
        (forged(lr=3), "damaged: not the tuning"),
        (forged(scale="much"), "damaged: not the tuning"),
        (forged(train=[["classifier"]]), "damaged: not the tuning"),
        (forged(position="behind"), "position is 'behind'; accepted: parallel"),
        (lambda folder: (folder / CONFIG).write_text("[]"), "schema None; this version reads 1 and 2"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"no"), "adapter_model.safetensors"),
        (forged(train=["layer_norm"]), "no part 'layer_norm' to train"),
        (forged(train=[]), "trained on frozen weights with"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(tmp_path, damage, said):
    ipet.save_tuned(ipet.tune(build("wav2vec 2.0")[0], 2, 4), tmp_path)
    damage(tmp_path)
    with pytest.raises(ValueError, match=said):
        ipet.load_tuned(build("wav2vec 2.0")[0], tmp_path)


def test_the_config_names_the_frozen_weights_for_other_programs(tmp_path):
    model, _ = build("wav2vec 2.0")
    model.config.name_or_path = "somebody/speech"
    ipet.save_tuned(ipet.tune(model, 2, 4), tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    pefts = {"peft_type": "IPET", "base_model_name_or_path": "somebody/speech", "inference_mode": True}
    assert config.items() >= {**pefts, "task_type": None, "schema": 2, "kind": "tuned"}.items()
    ipet.save_tuned(ipet.tune(build("ViT")[0], 2, 4), tmp_path)
    assert json.loads((tmp_path / CONFIG).read_text())["base_model_name_or_path"] is None


def test_a_folder_of_the_first_version_is_read_and_migrated(tmp_path):
    model, x = build("wav2vec 2.0")
    ipet.save_tuned(moved(ipet.tune(model, 2, 4)), tmp_path)
    config = json.loads((tmp_path / CONFIG).read_text())
    first = {name: config[name] for name in ("peft_type", "model", "tuning", "frozen_sha256")}
    (tmp_path / CONFIG).write_text(json.dumps({**first, "schema": 1}))
    answers = []
    for _ in range(2):
        with torch.no_grad():
            answers.append(logits(ipet.load_tuned(build("wav2vec 2.0")[0], tmp_path).eval(), x))
        assert migrate(tmp_path) == (len(answers) == 1)
    assert json.loads((tmp_path / CONFIG).read_text()) == config
    assert torch.equal(answers[0], logits(model, x)) and torch.equal(*answers)


def test_other_frozen_weights_are_refused(tmp_path):
    ipet.save_tuned(ipet.tune(build("HuBERT")[0], 2, 4), tmp_path)
    torch.manual_seed(1)
    with pytest.raises(
        ValueError, match=r"of HubertForSequenceClassification; this Hubert.* has .*; expected"
    ):
        ipet.load_tuned(MODELS["HuBERT"][0]()[0], tmp_path)
