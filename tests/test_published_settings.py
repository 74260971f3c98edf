"""Defaults of the ten experiments against the settings that the authors published (D7)."""

import pytest

from helpers import EXPERIMENTS, experiment

COMMON = {
    "gamma": 0.85,
    "lr_decay_start_epoch": 5,
    "lr_decay_end_epoch": 26,
    "weight_decay": 5e-7,
    "rand_seed": (),  # 1234, unless a resumed run has another one
    "embedding_prompt": True,
    "adapter": True,
    "adapter_scalar": 0.1,
    "adapter_dropout": 0.1,
    "flag_reproducible": True,
}
OF_AST = {
    "epoch": 30,
    "winlen": 25.0,
    "winstep": 10.0,
    "winfunc": "hanning",
    "nfilts": 128,
    "fstride": 10,
    "tstride": 10,
    "train_crop": "first",
}
OF_SPEECH = {"epoch": 40}
NAMES = ("batch_size", "frame_length", "mixup", "lr", "embedding_prompt_num", "adapter_hidden_dim")
NAMES += ("classification_loss", "fold", "nb_seg")
NAMES_OF_AST = ("timem", "freqm", "add_noise", "norm_mean", "norm_std")
# Experiment: its settings in the order of NAMES, the rate of fine-tuning, and those of NAMES_OF_AST.
PUBLISHED = {
    "ast_esc50": (48, 512, 0, 1e-3, 4, 32, "cce", 5, 1, 1e-5, 96, 24, False, -6.6268077, 5.358466),
    "ast_fsd50k": (24, 1024, 0.5, 1e-3, 32, 32, "bce", 0, 1, 1e-5, 192, 48, False, -2.94206, 4.810963),
    "ast_gtzan": (
        *(32, 400, 0.3, 4.5e-3, 8, 64, "cce", 10, 10, 5e-5),
        *(80, 48, False, -2.37300301, 3.19099191),
    ),
    "ast_speechcommands": (
        *(128, 128, 0.5, 5e-3, 4, 128, "bce", 0, 1, 2.5e-4),
        *(48, 48, True, -6.845978, 5.5654526),
    ),
    "ast_voxceleb": (32, 400, 0, 5e-4, 4, 64, "cce", 0, 5, 5e-5, 80, 48, True, -4.8955183, 4.2524743),
    "w2v_esc50": (48, 512, 0, 2.5e-3, 128, 128, "cce", 5, 1, 5e-5),
    "w2v_fsd50k": (24, 1024, 0.5, 5e-3, 128, 64, "bce", 0, 1, 5e-5),
    "w2v_gtzan": (32, 400, 0.3, 5e-3, 128, 64, "cce", 10, 10, 2.5e-5),
    "w2v_speechcommands": (64, 128, 0, 1e-3, 64, 64, "bce", 0, 1, 5e-5),
    "w2v_voxceleb": (64, 300, 0, 1e-3, 64, 128, "cce", 0, 5, 2.5e-5),
}


def settings(name, *flags):
    with experiment(name) as load:
        return vars(load("arguments").get_args(["-name", "x", *flags]))


def published(name):
    values = PUBLISHED[name]
    of_backbone = OF_AST if name.startswith("ast") else OF_SPEECH
    more = dict(zip(NAMES_OF_AST, values[len(NAMES) + 1 :]))
    return COMMON | of_backbone | dict(zip(NAMES, values)) | more, values[len(NAMES)]


def test_every_experiment_has_published_settings():
    assert set(PUBLISHED) == set(EXPERIMENTS)


@pytest.mark.parametrize("name", PUBLISHED)
def test_defaults_are_the_published_settings(name):  # D7
    want, lr_of_fine_tuning = published(name)
    found = settings(name)
    assert {key: found[key] for key in want} == want
    assert settings(name, "-method", "finetune")["lr"] == lr_of_fine_tuning
    if name.endswith("voxceleb"):
        assert found["scoring"] == "mean_distance" and found["add_musan_rir"] is name.startswith("w2v")
