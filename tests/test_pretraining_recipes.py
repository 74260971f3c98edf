"""The pretraining recipes, on a corpus of seconds: they go on where they were stopped, and are read back."""

import json

import numpy as np
import pytest
import torch

from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.checkpoint import load_training, read_tensors, save_training
from pretraining import ast_small, speech, training, wav2vec2_small
from pretraining.corpus import write_part
from pretraining.words import FORBIDDEN

from helpers import long

pytest.importorskip("espeakng_loader", reason="generated speech needs espeakng-loader")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    for name, num_clips in {"sounds": 40, "words": 40}.items():
        write_part(folder, name, num_clips, seed=0, processes=2)
    return folder


def pretrain(recipe, corpus, out, steps):
    more = {"teacher": None} if recipe is wav2vec2_small else {}
    recipe.pretrain(corpus, out, steps=steps, seed=0, size="tiny", every=2, **more)


@pytest.mark.parametrize("recipe", [ast_small, wav2vec2_small])
def test_a_recipe_writes_a_folder_that_the_experiments_read(recipe, corpus, tmp_path):
    pretrain(recipe, corpus, tmp_path, steps=2)
    files = {"config.json", "metrics.jsonl", "model.safetensors", "training.json"}
    assert {path.name for path in tmp_path.iterdir()} == files
    card = json.loads((tmp_path / "training.json").read_text())
    assert card["steps"] == card["final"]["step"] == 2
    tensors = read_tensors(tmp_path / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    if recipe is ast_small:
        backbone = build_ast(num_frames=256, pretrained=str(tmp_path))
        assert backbone(torch.zeros(1, 256, 128)).shape == (1, 48)
    else:
        backbone = build_wav2vec2(pretrained=str(tmp_path), num_frames=128)
        assert backbone(torch.randn(1, 20_480)).shape == (1, 96)


@long
@pytest.mark.parametrize("recipe", [ast_small, pytest.param(wav2vec2_small, marks=long)])
def test_a_stopped_run_goes_on_as_if_it_had_not_been(recipe, corpus, tmp_path, monkeypatch):
    pretrain(recipe, corpus, tmp_path / "whole", steps=4)

    class Stopped(Exception):
        pass

    report = training.Training.report

    def stop(self, number, metrics):
        report(self, number, metrics)
        raise Stopped

    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(training.Training, "report", stop)
        pretrain(recipe, corpus, tmp_path / "halves", steps=4)
    pretrain(recipe, corpus, tmp_path / "halves", steps=4)
    whole, halves = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "halves"))
    assert whole == halves


def test_a_state_of_other_settings_is_refused(tmp_path):
    about = {"steps": 3, "lr": 0.1, "weight_decay": 0, "warmup": 1, "average": 0.9}
    model = torch.nn.ModuleDict({"layers": torch.nn.Sequential(torch.nn.Linear(2, 1))})
    first = training.Training(torch.nn.Sequential(model), tmp_path, about)
    first.report(0, {})
    with pytest.raises(ValueError, match="is of other settings"):
        training.Training(torch.nn.Sequential(model), tmp_path, about | {"lr": 0.2})
    state = load_training(first.state_file)
    del state["muon"]
    save_training(first.state_file, state)
    with pytest.raises(ValueError, match="holds no state of muon; expected model, average, adamw, muon"):
        training.Training(torch.nn.Sequential(model), tmp_path, about)


def test_the_learning_rate_warms_up_and_falls_to_zero():
    rates = [training.learning_rate(step, 1000, 2.0, 100) for step in range(1000)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[99] == rates[100] == max(rates) == 2.0
    assert rates[550] == pytest.approx(1.0)  # halfway down the cosine
    assert 0 < rates[-1] < 1e-4


def test_mixing_adds_powers():
    # The second is made as loud as the first, then 0 to 12 dB quieter: log(e^0 + e^g).
    a, b = np.zeros((2, 3)), np.full((2, 3), np.log(2))
    for seed in range(20):
        mixture = ast_small.mixed(np.random.default_rng(seed), a, b)
        assert (np.log(1 + 10**-1.2) <= mixture).all() and (mixture <= np.log(2)).all()


@pytest.mark.parametrize("columns", [frames // 16 for frames in ast_small.LENGTHS])
def test_a_step_of_ast_hears_about_half_and_is_asked_for_masked_columns(columns):
    shares = []
    for seed in range(50):
        kept, masked = ast_small.draw(np.random.default_rng(seed), 8, columns)
        assert kept.unique().equal(kept) and kept.max() < 8 * columns and kept.shape == masked.shape
        hidden, heard = (set((kept % columns)[where].tolist()) for where in (masked, ~masked))
        assert not hidden & heard, "a masked column is masked as a whole"
        assert columns * ast_small.MASKED <= len(hidden) <= columns * ast_small.MASKED + 2
        assert masked.sum() == ast_small.ASKED * len(hidden)
        shares.append((~masked).sum() / (8 * (columns - len(hidden))))
    assert np.mean(shares) == pytest.approx(ast_small.KEPT, abs=0.03)


def test_a_column_s_clusters_are_of_its_own_160_ms_and_of_no_level():
    fbank = np.random.default_rng(0).normal(size=(1, 128, 128)).astype(np.float32)
    features = ast_small.column_features(fbank)
    assert features["phones"].shape == (1, 8, 64) and features["timbres"].shape == (1, 8, 128)
    other = fbank.copy()
    other[:, 64:] = 0  # behind the fourth column
    phones, timbres = ast_small.column_features(other).values()
    np.testing.assert_allclose(phones[:, :4, 1:], features["phones"][:, :4, 1:], rtol=1e-5)
    np.testing.assert_allclose(timbres[:, :3], features["timbres"][:, :3], atol=1e-6)
    for name, louder in ast_small.column_features(fbank + 3).items():
        np.testing.assert_allclose(louder, features[name], atol=1e-4, err_msg=name)


def test_the_nearest_centre_is_the_nearest():
    rng = np.random.default_rng(0)
    x, centres = rng.normal(size=(3, 4, 5)), rng.normal(size=(7, 5))
    wanted = ((x[:, :, None] - centres) ** 2).sum(-1).argmin(-1)
    assert (ast_small.nearest(x, centres) == wanted).all()


def test_a_masked_patch_is_not_heard():
    model = ast_small.Pretraining(3, "tiny").eval()
    kept, masked = ast_small.draw(np.random.default_rng(0), 8, 8)
    a, b = torch.randn(2, 2, 128, 128)
    columns = (kept % 8)[masked].unique()
    b = torch.where(torch.isin(torch.arange(128) // 16, columns)[:, None], b, a)
    assert not torch.equal(a, b)
    for heard, other in zip(model(a, 3, kept, masked), model(b, 3, kept, masked)):
        torch.testing.assert_close(heard, other)
    assert not torch.allclose(model(a, 3, kept)[0], model(b, 3, kept)[0])


def test_a_position_is_that_of_the_backbone():
    # A whole input without masks is what the backbone itself computes.
    model = ast_small.Pretraining(3, "tiny").eval()
    x = torch.randn(2, ast_small.NUM_FRAMES, 128)
    torch.testing.assert_close(model(x)[0], model.head(model.norm(model.backbone(x))))


def test_muon_has_the_matrices_of_the_layers_and_adamw_the_rest(tmp_path):
    about = {"steps": 3, "lr": 0.1, "weight_decay": 0.01, "warmup": 1, "average": 0.9}
    run = training.Training(ast_small.Pretraining(3, "tiny"), tmp_path, about)
    names = {id(p): name for name, p in run.model.named_parameters()}
    muon, decayed, others = (
        {names[id(p)] for p in group["params"]} for group in (*run.muon.param_groups, *run.adamw.param_groups)
    )
    assert muon | decayed | others == set(names.values()) and len(names) == len(muon | decayed | others)
    assert {name.split(".", 4)[-1] for name in muon} == {
        f"{part}.weight" for part in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    }
    assert "head.weight" in decayed and "backbone.vit.pos_embed" in decayed and "mask" in others


def test_masks_begin_where_there_is_sound_and_cover_about_half():
    heard = torch.arange(99) < torch.tensor([[99], [30]])
    masks = [wav2vec2_small.draw_mask(np.random.default_rng(seed), heard) for seed in range(200)]
    assert all(mask[:, :].any(dim=1).all() for mask in masks)
    assert all((mask & heard).any(dim=1).all() for mask in masks)
    assert 0.4 < torch.stack(masks).float().mean() < 0.6


def test_a_token_s_clusters_are_of_the_samples_that_it_hears():
    features = wav2vec2_small.Features()
    waveform = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (1, 32_000))).float()
    x = features(waveform)
    assert x["phones"].shape == (1, 99, 26) and x["timbres"].shape == (1, 99, 40)
    later = features(waveform[:, 320 * 7 :])["phones"][0, :, 1:13]  # 7 tokens later: the same frames
    np.testing.assert_allclose(later, x["phones"][0, 7:, 1:13], rtol=1e-4, atol=1e-3)


def test_what_is_clustered_does_not_depend_on_the_level():
    features = wav2vec2_small.Features()
    waveform = torch.from_numpy(np.random.default_rng(0).uniform(-0.5, 0.5, (2, 32_000))).float()
    for loud, quiet in zip(features(waveform).values(), features(waveform / 10).values()):
        np.testing.assert_allclose(loud, quiet, atol=1e-2)


@pytest.mark.parametrize("name", ["words", "sentences"])
def test_speech_is_labelled_audible_and_its_seed(name):
    for seed in range(5):
        waveform, labels = speech.MAKE[name](np.random.default_rng(seed))
        again, same = speech.MAKE[name](np.random.default_rng(seed))
        assert np.array_equal(waveform, again) and labels == same
        assert 16_000 <= len(waveform) <= 81_920 and 0.09 < np.abs(waveform).max() < 1
        assert "speech" in labels <= set(speech.LABELS[name])


def test_a_word_s_phonemes_are_its_labels(monkeypatch):
    monkeypatch.setattr(speech, "draw_word", lambda rng, language: "blanket")
    monkeypatch.setattr(speech, "draw_voice", lambda rng: speech.Voice("en-us", "Andy"))
    _, labels = speech.make_word(np.random.default_rng(0))
    assert {name.split()[-1] for name in labels if "phoneme" in name} == set("blæŋkɪt")  # noqa: RUF001
    assert "speech/two syllables" in labels
    assert "blanket" not in FORBIDDEN
