"""Published weights in each of their layouts give equal outputs; a tensor too few or too many is an error."""

import hashlib
import json
import re
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from transformers import (
    ASTConfig,
    ASTForAudioClassification,
    HubertConfig,
    HubertForCTC,
    HubertForSequenceClassification,
    HubertModel,
    Wav2Vec2ForAudioFrameClassification,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining,
    Wav2Vec2ForSequenceClassification,
    Wav2Vec2ForXVector,
    WavLMForCTC,
    WavLMForSequenceClassification,
    WavLMForXVector,
    WavLMModel,
)

from ipet.backbones import audio_spectrogram_transformer as ast_module
from ipet.backbones.audio_spectrogram_transformer import adapt_position_embedding, build_ast
from ipet.backbones.audio_spectrogram_transformer import save_backbone as save_ast
from ipet.backbones.wav2vec2 import MODEL_TYPES, SIZES, build_wav2vec2
from ipet.backbones.wav2vec2 import save_backbone as save_wav2vec2
from ipet.features import Padded
from ipet.inference import new_backbone
from ipet.kinds import BACKBONES

FRAMES = 128  # 12 x 12 patches


def randomise(model, seed=0):
    """Give every tensor values that tell it apart from any other."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


# AST ----------------------------------------------------------------------------------------------


def huggingface(**settings):
    """transformers' own AST, an independent implementation of what is to be computed."""
    config = ASTConfig(
        hidden_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=192,
        max_length=FRAMES,
        num_labels=5,
        **settings,
    )
    return randomise(ASTForAudioClassification(config))


@pytest.fixture
def huggingface_ast():
    return huggingface()


@pytest.fixture
def fbank():
    return torch.randn(2, FRAMES, 128, generator=torch.Generator().manual_seed(1))


def expected(model, fbank):
    with torch.no_grad():
        return model.audio_spectrogram_transformer(fbank).pooler_output


def got(pretrained, fbank):
    with torch.no_grad():
        return build_ast(FRAMES, size="tiny", pretrained=str(pretrained)).eval()(fbank)


def legacy(name):
    """Today's name of a tensor in transformers' AST -> the name that the published file carries."""
    name = name.replace("transformer.layers.", "transformer.encoder.layer.")
    for new, old in (
        ("attention.q_proj", "attention.attention.query"),
        ("attention.k_proj", "attention.attention.key"),
        ("attention.v_proj", "attention.attention.value"),
        ("attention.o_proj", "attention.output.dense"),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
    ):
        name = name.replace(new, old)
    return name


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("rename", [legacy, str], ids=["old names", "new names"])
def test_ast_loads_from_a_folder_in_hugging_face_layout(tmp_path, huggingface_ast, fbank, rename, suffix):
    tensors = {rename(name): t for name, t in huggingface_ast.state_dict().items()}
    assert any("encoder.layer.1.attention.attention.query" in n for n in tensors) == (rename is legacy)
    if suffix == ".bin":
        torch.save(tensors, tmp_path / "pytorch_model.bin")
    else:
        safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    torch.testing.assert_close(got(tmp_path, fbank), expected(huggingface_ast, fbank), rtol=1e-4, atol=1e-5)


def test_ast_loads_what_transformers_itself_saves(tmp_path, huggingface_ast, fbank):
    huggingface_ast.save_pretrained(tmp_path)
    torch.testing.assert_close(got(tmp_path, fbank), expected(huggingface_ast, fbank), rtol=1e-4, atol=1e-5)


def authors_layout(backbone):
    """What the AST authors' training saves: DataParallel, timm's names under v., three heads."""
    tensors = {f"module.v.{name}": t.clone() for name, t in backbone.vit.state_dict().items()}
    for head in ("module.v.head", "module.v.head_dist", "module.mlp_head.1"):
        tensors |= {f"{head}.weight": torch.ones(7, 48), f"{head}.bias": torch.ones(7)}
    return tensors | {"module.mlp_head.0.weight": torch.ones(48), "module.mlp_head.0.bias": torch.ones(48)}


def test_ast_loads_from_the_authors_file(tmp_path, huggingface_ast, fbank):
    huggingface_ast.save_pretrained(tmp_path / "hf")
    backbone = build_ast(FRAMES, size="tiny", pretrained=str(tmp_path / "hf"))
    torch.save(authors_layout(backbone), tmp_path / "audioset_10_10_0.4593.pth")
    out = got(tmp_path / "audioset_10_10_0.4593.pth", fbank)
    torch.testing.assert_close(out, expected(huggingface_ast, fbank), rtol=1e-4, atol=1e-5)


def test_ast_cuts_the_position_embedding_of_the_audioset_grid(tmp_path):
    long = randomise(build_ast(1024, size="tiny"))  # 12 x 101 patches
    torch.save(authors_layout(long), tmp_path / "a.pth")
    short = build_ast(FRAMES, size="tiny", pretrained=str(tmp_path / "a.pth"))
    grid = long.vit.pos_embed[0, 2:].unflatten(0, (12, 101))
    cut = short.vit.pos_embed[0, 2:].unflatten(0, (12, 12))
    assert torch.equal(cut, grid[:, 44:56])  # 50 - 12 // 2 = 44
    assert torch.equal(short.vit.pos_embed[0, :2], long.vit.pos_embed[0, :2])


@pytest.mark.parametrize("stride", [(16, 16), (16, 10), (10, 10)])
def test_ast_takes_the_stride_that_hugging_face_writes(tmp_path, fbank, stride):
    theirs = huggingface(frequency_stride=16, time_stride=16)
    theirs.save_pretrained(tmp_path)
    ours = build_ast(FRAMES, size="tiny", stride=stride, pretrained=str(tmp_path)).eval()
    assert ours.grid == (8, FRAMES // 16)
    torch.testing.assert_close(ours(fbank), expected(theirs, fbank), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="tstride is 16, but 12 was asked for; leave out -tstride"):
        build_ast(FRAMES, size="tiny", stride=(10, 12), pretrained=str(tmp_path))


def test_ast_starts_from_imagenet_as_timm_publishes_it(tmp_path):
    deit = randomise(timm.create_model(ast_module.IMAGENET, **ast_module.SIZES["tiny"], num_classes=10))
    torch.save({"model": deit.state_dict()}, tmp_path / "deit.pth")
    backbone = build_ast(FRAMES, size="tiny", pretrained=str(tmp_path / "deit.pth"))
    # AST sums the three colours, and cuts the 24 x 24 grid around its centre: rows and columns 6 to 17.
    torch.testing.assert_close(
        backbone.vit.patch_embed.proj.weight, deit.patch_embed.proj.weight.sum(1, keepdim=True)
    )
    grid = deit.pos_embed[0, 2:].unflatten(0, (24, 24))
    assert torch.equal(backbone.vit.pos_embed[0, 2:].unflatten(0, (12, 12)), grid[6:18, 6:18])
    assert torch.equal(backbone.vit.blocks[1].mlp.fc2.weight, deit.blocks[1].mlp.fc2.weight)


def test_a_longer_input_interpolates_time_and_still_cuts_frequency():
    ramp = torch.arange(24.0).repeat(24, 1)[..., None]  # [24, 24, 1]: the column's number
    position = torch.cat([torch.zeros(1, 2, 1), ramp.reshape(1, -1, 1)], dim=1)
    new = adapt_position_embedding(position, (24, 24), (12, 48))[0, 2:, 0].unflatten(0, (12, 48))
    # bilinear, corners not aligned: new column c lies at old column (c + 0.5) / 2 - 0.5
    want = ((torch.arange(48.0) + 0.5) / 2 - 0.5).clamp(0, 23)
    torch.testing.assert_close(new, want.repeat(12, 1))


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda t: t.pop("module.v.blocks.1.norm2.bias"),
            r"1 \(blocks.1.norm2.bias\) missing, none unexpected",
        ),
        (
            lambda t: t.update({"module.v.blocks.2.x": torch.ones(1)}),
            r"none missing, 1 \(blocks.2.x\) unexpected",
        ),
        (
            lambda t: t.update({"module.v.norm.bias": torch.ones(9)}),
            r"norm.bias has shape \[9\], this model's is \[48\]",
        ),
        (lambda t: t.pop("module.v.pos_embed"), "pos_embed missing; expected AST weights"),
        (
            lambda t: t.update({"module.v.pos_embed": torch.ones(1, 9, 48)}),
            "7 patches, not known to be a grid of strides 10 and 10",
        ),
    ],
)
def test_ast_weights_that_do_not_fit_are_named(tmp_path, change, message):
    tensors = authors_layout(build_ast(FRAMES, size="tiny"))
    change(tensors)
    torch.save(tensors, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=message) as error:
        build_ast(FRAMES, size="tiny", pretrained=str(tmp_path / "a.pth"))
    assert str(tmp_path / "a.pth") in str(error.value)


# wav2vec 2.0, HuBERT, WavLM -----------------------------------------------------------------------


KINDS = [Wav2Vec2ForPreTraining, Wav2Vec2ForCTC, HubertForCTC, HubertModel, WavLMForCTC, WavLMModel]


def tiny_model(kind):
    """A tiny model of transformers; those for a task have a head, and a prefix in their names."""
    settings = {**SIZES["tiny"], "codevector_dim": 16, "proj_codevector_dim": 16, "vocab_size": 9}
    return randomise(kind(kind.config_class(**settings)))


def without_head(model):
    return getattr(model, model.base_model_prefix, model)


def old_names(tensors):
    return {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): t
        for name, t in tensors.items()
    }


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
@pytest.mark.parametrize("rename", [old_names, dict], ids=["weight_g", "parametrised"])
@pytest.mark.parametrize("kind", KINDS)
def test_wav2vec2_loads_from_a_folder_in_hugging_face_layout(tmp_path, kind, rename, suffix):
    model = tiny_model(kind)
    tensors = {name: t.contiguous() for name, t in rename(model.state_dict()).items()}
    assert any(name.endswith("conv.weight_g") for name in tensors) == (rename is old_names)
    model.config.save_pretrained(tmp_path)
    if suffix == ".bin":
        torch.save(tensors, tmp_path / "pytorch_model.bin")
    else:
        safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    waveform = 0.1 * torch.randn(2, 8_000)
    with torch.no_grad():
        tokens = without_head(model)(waveform).last_hidden_state
        backbone = build_wav2vec2(pretrained=str(tmp_path), model_type=model.config.model_type).eval()
        out = backbone(waveform)
    torch.testing.assert_close(out, torch.cat([tokens.mean(1), tokens.std(1)], dim=-1))


@pytest.mark.parametrize("kind", KINDS)
def test_wav2vec2_loads_what_transformers_itself_saves(tmp_path, kind):
    model = tiny_model(kind)
    model.save_pretrained(tmp_path)
    backbone = build_wav2vec2(pretrained=str(tmp_path), model_type=model.config.model_type)
    assert backbone.settings["kind"] == model.config.model_type
    for name, tensor in without_head(model).state_dict().items():
        assert torch.equal(backbone.model.state_dict()[name], tensor), name


@pytest.mark.parametrize(
    "kind, asked", [(HubertModel, "wavlm"), (WavLMModel, "wav2vec2"), (HubertModel, "wav2vec2")]
)
def test_a_model_of_a_sister_type_says_which_flag_fits(tmp_path, kind, asked):
    model = tiny_model(kind)
    model.save_pretrained(tmp_path)
    found = model.config.model_type
    with pytest.raises(
        ValueError, match=rf"model_type is '{found}'; expected '{asked}', or -model_type {found}"
    ):
        build_wav2vec2(pretrained=str(tmp_path), model_type=asked)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_pre_norm_layers_are_refused(tmp_path, model_type):
    config_class, example = MODEL_TYPES[model_type][0], BACKBONES[model_type].published
    config_class(**SIZES["tiny"], do_stable_layer_norm=True).save_pretrained(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(
        ValueError, match=f"do_stable_layer_norm is true .* post-norm layers, such as {example}"
    ):
        build_wav2vec2(pretrained=str(tmp_path), model_type=model_type)


def test_an_unknown_type_is_refused():
    with pytest.raises(ValueError, match="the model type is 'data2vec'; accepted: wav2vec2, hubert, wavlm"):
        build_wav2vec2("tiny", model_type="data2vec")


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_random_ones_are_of_the_size_asked_for(model_type):
    backbone = build_wav2vec2("tiny", model_type=model_type)
    assert backbone.width == 2 * 48 and backbone.settings["kind"] == model_type
    assert SIZES["base"] == {}  # nothing is written into the table
    assert backbone.sha256 != build_wav2vec2("tiny", model_type=model_type).sha256


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.pop("wav2vec2.encoder.layer_norm.bias"), r"1 \(encoder.layer_norm.bias\) missing"),
        (lambda t: t.update({"wav2vec2.encoder.extra": torch.ones(1)}), r"1 \(encoder.extra\) unexpected"),
        (
            lambda t: t.update({"wav2vec2.masked_spec_embed": torch.ones(3)}),
            r"masked_spec_embed has shape \[3\]",
        ),
    ],
)
def test_wav2vec2_weights_that_do_not_fit_are_named(tmp_path, change, message):
    model = tiny_model(Wav2Vec2ForPreTraining)
    model.config.save_pretrained(tmp_path)
    tensors = dict(model.state_dict())
    change(tensors)
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=message):
        build_wav2vec2(pretrained=str(tmp_path))


@pytest.mark.parametrize("probability", [0.0, 0.05])
def test_only_a_model_that_masks_has_what_masks(tmp_path, probability):
    model = tiny_model(Wav2Vec2ForPreTraining)  # trained with masks; tuned without
    model.config.mask_time_prob = probability
    model.config.save_pretrained(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    names = build_wav2vec2(pretrained=str(tmp_path)).model.state_dict()
    assert ("masked_spec_embed" in names) == (probability > 0)
    assert len(names) == len(model.wav2vec2.state_dict()) - (probability == 0)


def test_another_kind_of_model_is_refused(tmp_path, huggingface_ast):
    huggingface_ast.save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match=r"model_type is 'audio-spectrogram-transformer'; expected 'wav2vec2'"
    ):
        build_wav2vec2(pretrained=str(tmp_path))


@pytest.mark.parametrize(
    "build", [lambda p: build_ast(FRAMES, pretrained=p), lambda p: build_wav2vec2(pretrained=p)]
)
def test_weights_that_are_nowhere_are_an_error_that_says_what_would_do(tmp_path, build):
    with pytest.raises(
        FileNotFoundError, match=r"no such file or folder; accepted: .*hub id such as.*, random"
    ):
        build(str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError, match=r"holds neither model\.safetensors nor pytorch_model\.bin"):
        build(str(tmp_path))


@pytest.mark.parametrize(
    "build", [lambda p: build_ast(FRAMES, pretrained=p), lambda p: build_wav2vec2(pretrained=p)]
)
def test_a_hub_id_is_fetched_by_name(tmp_path, monkeypatch, build):
    asked = []

    def snapshot_download(hub_id, revision, allow_patterns):
        asked.append((hub_id, revision, allow_patterns))
        raise ConnectionError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(
        FileNotFoundError, match=re.escape("owner/name: no such folder here, and the Hugging Face hub")
    ):
        build("owner/name")
    with pytest.raises(FileNotFoundError, match=r"^owner/name@v1\.0: no such folder here"):
        build("owner/name@v1.0")
    with pytest.raises(FileNotFoundError, match=r"^owner/name@: no such file or folder"):
        build("owner/name@")
    wanted = ["config.json", "model.safetensors"]
    assert asked == [("owner/name", None, wanted), ("owner/name", "v1.0", wanted)]


def test_a_fetched_repository_is_loaded(tmp_path, monkeypatch, huggingface_ast, fbank):
    huggingface_ast.save_pretrained(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda hub_id, **asked: str(tmp_path))
    out = got("MIT/ast-finetuned-audioset-10-10-0.4593", fbank)
    torch.testing.assert_close(out, expected(huggingface_ast, fbank), rtol=1e-4, atol=1e-5)


@pytest.fixture
def hub_cache(tmp_path, monkeypatch, huggingface_ast):
    """A repository as the hub's client keeps it: links, named after files, to files named after contents."""
    folder, blobs = (
        tmp_path / "models--owner--name/snapshots" / COMMIT,
        tmp_path / "models--owner--name/blobs",
    )
    huggingface_ast.save_pretrained(folder)
    blobs.mkdir()
    for path in sorted(folder.iterdir()):
        kind = hashlib.sha256 if path.suffix == ".safetensors" else hashlib.sha1
        blob = blobs / kind(path.read_bytes()).hexdigest()
        path.replace(blob)
        path.symlink_to(blob)
    asked = []

    def snapshot_download(hub_id, revision, **_):
        asked.append((hub_id, revision))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return folder, asked


COMMIT = "5" * 40


def test_a_download_is_pinned_by_its_commit_and_asked_for_by_it_again(hub_cache):
    _, asked = hub_cache
    backbone = build_ast(FRAMES, pretrained="owner/name", size="tiny")
    assert backbone.settings["revision"] == COMMIT
    settings = backbone.settings | {"pretrained": "owner/name"}
    again = new_backbone(settings, None, Path("adapter_config.json"))
    assert again.sha256 == backbone.sha256
    assert asked == [("owner/name", None), ("owner/name", COMMIT)]


def test_a_download_that_is_not_what_the_hub_says_is_refused(hub_cache):
    folder, _ = hub_cache
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1  # one bit of a weight: it would be loaded
    path.resolve().write_bytes(data)
    with pytest.raises(ValueError, match=r"model\.safetensors: SHA-256 \w{12}\.\.\., the hub says \w{12}"):
        build_ast(FRAMES, pretrained="owner/name", size="tiny")


# Forged sizes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("hidden_size", 10**9, "hidden_size is 1000000000, of the tensors 48"),
        ("hidden_size", -48, "hidden_size is -48, of the tensors 48"),
        ("hidden_size", "wide", "describes no wav2vec2 model"),
        ("intermediate_size", 10**12, "intermediate_size is 1000000000000, of the tensors 96"),
        ("num_hidden_layers", 10**9, "num_hidden_layers is 1000000000, of the tensors 2"),
        ("num_conv_pos_embeddings", 10**12, "num_conv_pos_embeddings is 1000000000000, of the tensors 16"),
        ("conv_dim", [16] * 6 + [10**9], "conv_dim is .*, of the tensors \\[16, 16"),
        ("num_attention_heads", 0, "0 heads of 48 values"),
        ("num_attention_heads", 5, "describes no wav2vec2 model"),
        ("add_adapter", True, "add_adapter is true; expected a base model"),
        ("hidden_act", "boom", "describes no wav2vec2 model"),
        ("model_type", ["wav2vec2"], "model_type is \\['wav2vec2'\\]; expected 'wav2vec2'"),
    ],
)
def test_a_forged_configuration_is_refused_before_it_is_built(tmp_path, setting, value, said):
    save_wav2vec2(build_wav2vec2("tiny"), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {setting: value}))
    with pytest.raises(ValueError, match=f"config\\.json: {said}") as caught:
        build_wav2vec2(pretrained=str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("stride", 3, "the strides are 3; expected two whole numbers above 0"),
        ("stride", [10, 0], "the strides are .10, 0.; expected two whole numbers above 0"),
        (
            "size",
            ["base"],
            "the size of AST is .'base'.; accepted: base, base224, small224, tiny224, small, tiny",
        ),
        ("num_mels", 10**9, "num_mels is 1000000000, but 128 was asked for"),
    ],
)
def test_a_forged_configuration_of_ast_is_refused(tmp_path, setting, value, said):
    save_ast(build_ast(FRAMES, size="tiny"), tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {setting: value}))
    with pytest.raises(ValueError, match=said):
        build_ast(FRAMES, pretrained=str(tmp_path))
    path.write_text("[1, 2]")
    with pytest.raises(ValueError, match=r"config\.json: holds \[1, 2\]; expected the settings of a model"):
        build_ast(FRAMES, pretrained=str(tmp_path))


# Grids, sizes, shards, tasks (D11) --------------------------------------------------------------------


def plain_file(folder, num_frames, stride, **config):
    """A file of the AST authors' layout, and a config.json next to it if there is anything to say."""
    backbone = randomise(build_ast(num_frames, size="tiny", stride=stride))
    torch.save(authors_layout(backbone), folder / "a.pth")
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return backbone, str(folder / "a.pth")


@pytest.mark.parametrize(
    "num_frames, stride, num_patches",
    [
        (128, (16, 10), 96),
        (300, (16, 16), 144),
        (512, (14, 12), 378),
        (400, (16, 12), 264),
        (512, (12, 12), 420),
    ],
)
def test_positions_of_another_stride_are_refused_and_load_right_with_their_flags(
    tmp_path, num_frames, stride, num_patches
):
    """D11: 96, 144, 264 and 420 patches divide by the 12 rows of stride 10; the grid has other rows."""
    theirs, path = plain_file(tmp_path, num_frames, stride)
    assert theirs.vit.pos_embed.shape[1] - 2 == num_patches
    with pytest.raises(ValueError, match=rf"it fits .*-fstride {stride[0]} -tstride {stride[1]} \("):
        build_ast(1024, size="tiny", pretrained=path)
    ours = build_ast(num_frames, size="tiny", stride=stride, pretrained=path)
    assert torch.equal(ours.vit.pos_embed, theirs.vit.pos_embed)


@pytest.mark.parametrize("num_frames", [1024, 512, 400, 300, 256])
def test_positions_of_a_published_number_of_frames_need_no_config(tmp_path, num_frames):
    theirs, path = plain_file(tmp_path, num_frames, (10, 10))
    ours = build_ast(FRAMES, size="tiny", pretrained=path)
    columns = theirs.grid[1]
    grid = theirs.vit.pos_embed[0, 2:].unflatten(0, theirs.grid)
    first = columns // 2 - 6
    assert torch.equal(ours.vit.pos_embed[0, 2:].unflatten(0, (12, 12)), grid[:, first : first + 12])


def test_a_config_next_to_a_file_tells_its_grid(tmp_path):
    told = {"frequency_stride": 10, "time_stride": 10, "num_mel_bins": 128, "max_length": 777}
    theirs, path = plain_file(tmp_path, 777, (10, 10), **told)
    assert torch.equal(build_ast(777, size="tiny", pretrained=path).vit.pos_embed, theirs.vit.pos_embed)
    build_ast(512, size="tiny", pretrained=path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"not known to be a grid of strides 10 and 10; .* config\.json"):
        build_ast(512, size="tiny", pretrained=path)
    (tmp_path / "config.json").write_text(json.dumps(told | {"max_length": 512}))
    with pytest.raises(ValueError, match=r"has 924 patches, its config\.json describes 12 x 50"):
        build_ast(512, size="tiny", pretrained=path)
    (tmp_path / "config.json").write_text(json.dumps(told | {"max_length": "long"}))
    with pytest.raises(ValueError, match=r"says 128 mels and long frames"):
        build_ast(512, size="tiny", pretrained=path)


def test_rows_are_those_of_the_mels_that_the_config_says(tmp_path):
    theirs = huggingface(num_mel_bins=64)
    theirs.save_pretrained(tmp_path)
    ours = build_ast(FRAMES, num_mels=64, size="tiny", pretrained=str(tmp_path))
    assert ours.grid == (5, 12)
    wider = build_ast(FRAMES, size="tiny", pretrained=str(tmp_path))  # interpolated, row by row
    rows = wider.vit.pos_embed[0, 2:].unflatten(0, (12, 12))[:, 0, 0]
    told = theirs.audio_spectrogram_transformer.embeddings.position_embeddings[0, 2:].unflatten(0, (5, 12))
    assert rows.min() >= told[:, 0, 0].min() and rows.max() <= told[:, 0, 0].max()


@pytest.mark.parametrize(
    "size, width, heads", [("tiny224", 192, 3), ("small224", 384, 6), ("base224", 768, 12)]
)
def test_ast_has_the_sizes_of_its_authors(monkeypatch, size, width, heads):
    backbone = build_ast(FRAMES, size=size)
    assert (backbone.vit.embed_dim, len(backbone.vit.blocks)) == (width, 12)
    assert backbone.vit.blocks[0].attn.num_heads == heads
    assert sum(p.numel() for p in backbone.vit.blocks.parameters()) == 12 * (12 * width**2 + 13 * width)
    asked = []
    monkeypatch.setattr(ast_module, "published_file", lambda name, _: asked.append(name) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build_ast(FRAMES, size=size, pretrained="imagenet")
    [hub_id] = asked
    assert hub_id == f"timm/deit_{size.removesuffix('224')}_distilled_patch16_224.fb_in1k"


def test_the_size_of_a_file_is_found_and_one_that_is_none_is_named(tmp_path):
    deit = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=10)
    torch.save({"model": deit.state_dict()}, tmp_path / "deit.pth")
    assert build_ast(FRAMES, pretrained=str(tmp_path / "deit.pth")).settings["size"] == "tiny224"
    with pytest.raises(ValueError, match="its size is 'tiny224', but 'base' was asked for; leave out -size"):
        build_ast(FRAMES, size="base", pretrained=str(tmp_path / "deit.pth"))
    with pytest.raises(
        ValueError, match="no weights of size small; accepted: base, base224, small224, tiny224"
    ):
        build_ast(FRAMES, size="small", pretrained="imagenet")
    other = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=0, depth=3)
    torch.save({"model": other.state_dict()}, tmp_path / "deit.pth")
    with pytest.raises(
        ValueError, match=r"width 192 and 3 layers are no known size of AST; .*tiny224 \(192, 12\)"
    ):
        build_ast(FRAMES, pretrained=str(tmp_path / "deit.pth"))


@pytest.mark.parametrize("safe", [True, False])
def test_sharded_checkpoints_load_like_whole_ones(tmp_path, safe):  # D11
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    model = tiny_model(WavLMModel)
    model.save_pretrained(whole)
    tensors = safetensors.torch.load_file(whole / "model.safetensors")
    end, save = (
        ("model.safetensors", safetensors.torch.save_file) if safe else ("pytorch_model.bin", torch.save)
    )
    parts.mkdir()
    (parts / "config.json").write_bytes((whole / "config.json").read_bytes())
    names, weight_map = sorted(tensors), {}
    for i in range(3):
        shard = f"{end.partition('.')[0]}-0000{i}-of-00003.{end.partition('.')[2]}"
        save({name: tensors[name] for name in names[i::3]}, parts / shard)
        weight_map |= dict.fromkeys(names[i::3], shard)
    index = parts / f"{end}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    built = [build_wav2vec2(pretrained=str(folder), model_type="wavlm") for folder in (whole, parts)]
    assert built[0].sha256 == built[1].sha256

    index.write_text(json.dumps({"weight_map": weight_map | {"encoder.more": weight_map[names[0]]}}))
    with pytest.raises(ValueError, match=r"of its tensors 1 \(encoder\.more\) missing, none unexpected"):
        build_wav2vec2(pretrained=str(parts), model_type="wavlm")
    for bad in ("../whole/model.safetensors", "/etc/passwd", index.name):
        index.write_text(json.dumps({"weight_map": {"a": bad}}))
        with pytest.raises(ValueError, match="is no file next to the index"):
            build_wav2vec2(pretrained=str(parts), model_type="wavlm")
    index.write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    with pytest.raises(FileNotFoundError, match=r"the shard gone\.safetensors is not next to it"):
        build_wav2vec2(pretrained=str(parts), model_type="wavlm")


def test_the_shards_of_a_hub_id_are_fetched(tmp_path, monkeypatch):  # D11
    model = tiny_model(HubertModel)
    model.save_pretrained(tmp_path, max_shard_size="100KB")
    assert (tmp_path / "model.safetensors.index.json").is_file()
    asked = []

    def snapshot_download(hub_id, revision, allow_patterns):
        asked.extend(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    build_wav2vec2(pretrained="owner/sharded", model_type="hubert")
    assert {path.name for path in tmp_path.glob("model-*.safetensors")} <= set(asked)


TASKS = [
    *(Wav2Vec2ForXVector, Wav2Vec2ForSequenceClassification, Wav2Vec2ForAudioFrameClassification),
    *(HubertForSequenceClassification, WavLMForXVector, WavLMForSequenceClassification),
]


@pytest.mark.parametrize("kind", TASKS)
def test_of_a_model_for_a_task_the_encoder_is_taken_and_the_rest_is_counted(tmp_path, kind):  # D11
    more = {"use_weighted_layer_sum": True, "tdnn_dim": (8, 8, 8, 8, 16), "xvector_output_dim": 8}
    model = randomise(kind(kind.config_class(**SIZES["tiny"], classifier_proj_size=8, num_labels=3, **more)))
    model.save_pretrained(tmp_path)
    backbone = build_wav2vec2(pretrained=str(tmp_path), model_type="auto").eval()
    assert backbone.settings["kind"] == model.config.model_type
    encoder = without_head(model).state_dict()
    for name, tensor in encoder.items():
        assert torch.equal(backbone.model.state_dict()[name], tensor), name
    report = backbone.input_report
    assert report.num_supplied("tensors") == len(model.state_dict())
    assert report.num_left_out("tensors") == len(model.state_dict()) - len(encoder) > 0
    [line] = report.warnings()
    assert "not of the encoder (" in line and line.startswith(str(tmp_path))


def test_an_unknown_tensor_of_an_encoder_is_still_an_error(tmp_path):
    model = tiny_model(WavLMModel)
    model.save_pretrained(tmp_path)
    tensors = safetensors.torch.load_file(tmp_path / "model.safetensors")
    safetensors.torch.save_file(tensors | {"encoder.gate": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"1 \(encoder\.gate\) unexpected"):
        build_wav2vec2(pretrained=str(tmp_path), model_type="auto")


def test_the_heads_of_ast_weights_are_counted(tmp_path, huggingface_ast):
    huggingface_ast.save_pretrained(tmp_path)
    report = build_ast(FRAMES, pretrained=str(tmp_path)).input_report
    assert report.num_left_out("tensors") == 4  # classifier.layernorm and .dense
    assert "head of the pretraining task (classifier." in report.warnings()[0]


@pytest.mark.parametrize(
    "told, said", [("data2vec-audio", "'data2vec-audio'"), (None, "None"), ([1], r"\[1\]")]
)
def test_a_type_of_the_weights_that_is_unknown_is_named(tmp_path, told, said):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": told}))
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=rf"model_type is {said}; accepted: wav2vec2, hubert, wavlm"):
        build_wav2vec2(pretrained=str(tmp_path), model_type="auto")


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_large_speech_models_are_referred_to_tune(tmp_path, model_type):  # D11
    MODEL_TYPES[model_type][0](**SIZES["tiny"], do_stable_layer_norm=True).save_pretrained(tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"in Python, ipet\.tune tunes"):
        build_wav2vec2(pretrained=str(tmp_path), model_type=model_type)


# A batch norm in the positions (B13) ------------------------------------------------------------------


@pytest.fixture
def batch_norm_hubert(tmp_path):
    model = randomise(HubertModel(HubertConfig(**SIZES["tiny"], conv_pos_batch_norm=True)))
    norm = model.encoder.pos_conv_embed.batch_norm
    norm.running_mean.copy_(torch.linspace(-0.5, 0.5, len(norm.running_mean)))
    norm.running_var.fill_(1.5)
    model.save_pretrained(tmp_path)
    return model, build_wav2vec2(pretrained=str(tmp_path), model_type="hubert")


def test_hubert_with_a_batch_norm_in_its_positions_loads(batch_norm_hubert):
    model, backbone = batch_norm_hubert
    waveform = 0.1 * torch.randn(2, 8_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens, out = model(waveform).last_hidden_state, backbone.eval()(waveform)
    torch.testing.assert_close(out, torch.cat([tokens.mean(1), tokens.std(1)], dim=-1))


def test_training_leaves_the_statistics_of_a_batch_norm_as_they_are(batch_norm_hubert):
    _, backbone = batch_norm_hubert
    before = {name: buffer.clone() for name, buffer in backbone.named_buffers()}
    backbone.train()
    assert backbone.model.encoder.layers[0].training
    backbone(0.1 * torch.randn(2, 8_000))
    assert all(torch.equal(buffer, before[name]) for name, buffer in backbone.named_buffers())


def test_a_batch_norm_in_the_positions_hears_a_clip_in_a_batch_as_alone(batch_norm_hubert):
    _, backbone = batch_norm_hubert
    clips = [0.1 * torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (8_000, 5_000)]
    waveform = torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    with torch.no_grad():
        together = backbone.eval()(Padded(waveform, torch.tensor([8_000, 5_000])))
        alone = torch.cat([backbone(clip[None]) for clip in clips])
    torch.testing.assert_close(together, alone)


# What is no backbone (D10) ----------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["", "best", "seed_1/fold_1", "file"])
def test_an_adapter_is_not_taken_for_a_backbone(tmp_path, named):
    folder = tmp_path / "run/seed_1/fold_1/best"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    safetensors.torch.save_file({"a": torch.ones(1)}, folder / "adapter_model.safetensors")
    given = {"best": folder, "file": folder / "adapter_model.safetensors"}.get(
        named, tmp_path / "run" / named
    )
    held = "is an adapter" if named in ("best", "file") else "holds adapters such as"
    for build in (lambda p: build_ast(FRAMES, pretrained=p), lambda p: build_wav2vec2(pretrained=p)):
        with pytest.raises(ValueError, match=rf"{held}.*, not a backbone; -init_adapter {folder} trains on"):
            build(str(given))


def test_a_hub_that_cannot_be_reached_is_one_line_that_names_the_flag(monkeypatch):  # D3
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: 1 / 0)
    with pytest.raises(FileNotFoundError, match="name its folder with -pretrained; accepted: ") as caught:
        build_wav2vec2(pretrained="facebook/wav2vec2-base", model_type="auto")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("facebook/wav2vec2-base: no such")


@pytest.mark.parametrize("model_type", ["auto", "wav2vec2"])
def test_weights_of_the_other_front_end_are_referred_to_its_experiments(tmp_path, model_type):  # D3
    path = tmp_path / "config.json"
    torch.save({}, tmp_path / "pytorch_model.bin")
    path.write_text('{"model_type": "audio-spectrogram-transformer"}')
    with pytest.raises(ValueError, match="AST is trained by the ast_ experiments"):
        build_wav2vec2(pretrained=str(tmp_path), model_type=model_type)
    path.write_text('{"model_type": "wavlm"}')
    with pytest.raises(ValueError, match="expected AST, such as ast_small; wavlm is trained by the w2v_ exp"):
        build_ast(FRAMES, pretrained=str(tmp_path))
