"""What prompts and adapters do in a layer, against values worked out by hand, and the command for it."""

import copy
import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from ipet.__main__ import main
from ipet.attention import attention_weights
from ipet.backbones.audio_spectrogram_transformer import build_ast, save_backbone
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.datasets import Cut
from ipet.features import LogMel, Waveform
from ipet.heads import Classifier, LinearHead, SpeakerHead
from ipet.inference import TunedModel
from ipet.insight import LayerWatch, LinearCKA, kinds_of, pooled_states, watched, without
from ipet.inspection import HELD, Hearing, change, conditions_of, few_utterances, measure, read_task
from ipet.methods import apply_method
from ipet.metrics import accuracy
from ipet.scoring import score_trials
from ipet.tuning import Adapter, Tuning, prompts_computed, tuned_layers
from ipet.verification_metrics import eer

from helpers import run_here, tiny, write_lists, write_wav

SETTINGS = {
    "ipet": {"num_prompts": 3, "bottleneck": 4, "scale": 2.0},
    "prompt": {"num_prompts": 2},
    "prefix": {"num_prefixes": 2},
    "adapter": {"bottleneck": 4, "position": "houlsby"},
    "lora": {"rank": 2},
    "linear": {},
    "bitfit": {},
}
KINDS = {
    "ipet": ["prompts", "adapter"],
    "prompt": ["prompts"],
    "prefix": ["prompts"],
    "adapter": ["adapter"],
    "lora": ["lora"],
    "linear": [],
    "bitfit": [],
}
N, T = 4, 24  # clips, tokens of a layer by itself
UTTERANCES = [f"s{speaker}/v/{i}.wav" for speaker in range(3) for i in range(2)]


def tuned(kind, method, head=LinearHead, **more):
    """A model with random trained values, and the frozen backbone that it was made of."""
    torch.manual_seed(0)
    if kind == "ast":
        bare, front_end = build_ast(64, size="tiny"), LogMel(128, 64, -4.0, 3.0)
    else:
        bare, front_end = build_wav2vec2("tiny", model_type=kind), Waveform(40)
    bare.eval()
    settings = {**SETTINGS[method], **more}
    backbone = apply_method(copy.deepcopy(bare), method, **settings)
    for parameter in backbone.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.3)
    model = Classifier(front_end, backbone, head(backbone.width, 4)).eval().requires_grad_(False)
    labels = [{"mid": f"/m/{i:02d}", "name": f"class {i}"} for i in range(4)]
    description = {"labels": labels, "loss": "cce", "metrics": {"eval_accuracy": 0.5}}
    cut = Cut(front_end.num_samples, repeat=True)
    ready = TunedModel(model, cut, description | {"tuning": backbone.tuning})
    ready.bare = bare
    return ready, bare


def an_input(kind):
    torch.manual_seed(1)
    return torch.randn(N, 64, 128) if kind == "ast" else 0.1 * torch.randn(N, 6_400)


# The adapter ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("residual", [False, True])
def test_an_adapter_is_measured_beside_the_feed_forward_and_the_state(residual):
    tuning = Tuning(bottleneck=2, scale=0.5, residual=residual)
    layer = tuned_layers(tuned("ast", "adapter")[0].model)[0]
    layer.position, layer.adapter = "parallel", Adapter(2, tuning).eval()
    layer.adapter.down.weight.data = layer.adapter.up.weight.data = torch.eye(2)
    watch = LayerWatch(layer)
    u = torch.tensor([[[3.0, 4.0], [3.0, -4.0]]])  # both of length 5
    g = torch.tensor([[[0.0, 5.0], [1.0, 0.0]]])
    with watch.watching(), torch.no_grad():
        # ReLU leaves (3, 4) and (3, 0); halved (1.5, 2) and (1.5, 0), of length 2.5 and 1.5
        torch.testing.assert_close(layer.adapt(u, g), 0.5 * u.relu() + u * residual)
    assert "adapt" not in vars(layer)
    found = watch.results()
    assert found["adapter_to_ffn"] == pytest.approx((2.5 / 5 + 1.5 / 1) / 2)
    assert found["adapter_to_state"] == pytest.approx((2.5 / 5 + 1.5 / 5) / 2)
    assert found["units_ever"] == 1 and found["units_active"] == pytest.approx(3 / 4)
    with watch.watching(), torch.no_grad():
        layer.adapt(-u.abs(), g)
    assert watch.results()["units_ever"] == 1  # above 0 once suffices
    assert watch.results()["units_active"] == pytest.approx(3 / 8)


def test_a_unit_that_is_never_above_zero_is_told():
    model, _ = tuned("ast", "ipet")
    for layer in tuned_layers(model.model):
        layer.adapter.down.weight[1:] = 0
        layer.adapter.down.bias[1:] = torch.tensor([-1.0, 1.0, -1.0])
        layer.adapter.down.bias[0] = 0
    with watched(model.model.backbone) as watches, torch.no_grad():
        model.model.backbone(an_input("ast"))
    # Unit 2 is always above 0, unit 0 for some tokens, the other two never.
    assert [watch.results()["units_ever"] for watch in watches] == [0.5, 0.5]


# Attention ------------------------------------------------------------------------------------------


def test_the_weight_on_prompts_by_hand():
    # One head, d = 1, one query 1; keys ln 3 of the prompt, 0 of two tokens: 3 / (3 + 1 + 1).
    layer = tuned_layers(tuned("ast", "prompt")[0].model)[0]
    q, k = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 2, 1)
    prompt_k = torch.full((1, 1, 1, 1), np.log(3.0))
    watch = LayerWatch(layer)
    watch.see_attention(q, k, k, (prompt_k, prompt_k), 0.0)
    assert watch.results()["attention"] == pytest.approx(3 / 5)
    assert watch.results()["uniform"] == pytest.approx(1 / 3)
    seen = torch.tensor([True, False]).view(1, 1, 1, 2)  # behind a short clip's end
    watch = LayerWatch(layer)
    watch.see_attention(q, k, k, (prompt_k, prompt_k), 0.0, seen)
    assert watch.results()["attention"] == pytest.approx(3 / 4)
    assert watch.results()["uniform"] == pytest.approx(1 / 2)


@pytest.mark.parametrize("kind", ["ast", "wav2vec2"])
def test_the_attention_of_each_head_is_that_of_the_textbook_form(kind):
    layer = tuned_layers(tuned(kind, "ipet")[0].model)[0]
    f, x = layer.layer, torch.randn(N, T, 48)
    z = torch.cat([layer.prompt.expand(N, -1, -1), x], dim=1)  # [P ; x]
    if kind == "ast":
        q, k, _ = f.attn.qkv(f.norm1(z)).chunk(3, dim=-1)
    else:
        q, k = f.attention.q_proj(z), f.attention.k_proj(z)
    q, k = (part.unflatten(-1, (2, 24)).transpose(1, 2) for part in (q, k))  # [N, 2, n + T, 24]
    rows = (q @ k.transpose(-2, -1) / 24**0.5).softmax(dim=-1)[:, :, 3:, :3].sum(dim=-1)  # [N, 2, T]
    watch = LayerWatch(layer)
    with watch.watching(), torch.no_grad():
        layer(x)
    found = watch.results()
    torch.testing.assert_close(torch.tensor(found["heads"]), rows.mean(dim=(0, 2)))
    assert found["attention"] == pytest.approx(rows.mean().item(), rel=1e-5)
    assert found["uniform"] == pytest.approx(3 / (3 + T)) and found["prompts"] == 3
    assert found["prompt_norm"] == pytest.approx(layer.prompt.norm(dim=-1).mean().item())
    assert found["token_norm"] == pytest.approx(x.norm(dim=-1).mean().item())


@pytest.mark.parametrize("kind", ["ast", "wav2vec2", "wavlm"])
def test_explicit_attention_gives_what_the_fused_one_gives(kind):
    model, _ = tuned(kind, "ipet")

    def explicit(q, k, v, prepended, drop, mask=None):
        keys, values = prepended
        weights = attention_weights(q, k, keys, mask)  # [N, H, t, n + T]
        return (weights @ torch.cat([values.expand(N, -1, -1, -1), v], dim=2)).transpose(1, 2).flatten(2)

    x = an_input(kind)
    with torch.no_grad():
        fused = model.model.backbone(x)
        for layer in tuned_layers(model.model):
            layer.compute_attention = explicit
        torch.testing.assert_close(model.model.backbone(x), fused, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["ast", "wav2vec2", "wavlm"])
def test_where_all_keys_are_alike_attention_is_uniform_and_nothing_changes_by_watching(kind):
    model, _ = tuned(kind, "ipet")
    x = an_input(kind)
    backbone = model.model.backbone
    with torch.no_grad():
        before = backbone(x)
        with watched(backbone):
            assert torch.equal(backbone(x), before)
        assert torch.equal(backbone(x), before)
        for name, parameter in backbone.named_parameters():
            if "q_proj" in name or "qkv" in name or "rel_attn_embed" in name:
                parameter.zero_()
        with watched(backbone) as watches, prompts_computed(model.model):
            backbone(x)
    for watch in watches:
        found = watch.results()
        assert found["attention"] == pytest.approx(found["uniform"], rel=1e-5)


# Switching off --------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize("kind", ["ast", "wav2vec2", "wavlm"])
def test_without_all_of_it_a_network_is_the_frozen_one_with_the_trained_head(kind, method):
    model, bare = tuned(kind, method)
    backbone, head, x = model.model.backbone, model.model.head, an_input(kind)
    assert kinds_of(backbone) == KINDS[method]
    parts = [(i, part) for i in range(2) for part in KINDS[method]]
    with torch.no_grad():
        before, frozen = head(backbone(x)), head(bare(x))
        assert method == "linear" or (before - frozen).abs().max() > 1e-3
        for ready in (False, True):
            with prompts_computed(model.model) if ready else without(backbone, []):
                with without(backbone, parts):
                    off = head(backbone(x))
                again = head(backbone(x))
            if KINDS[method]:
                torch.testing.assert_close(off, frozen, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(again, before, rtol=1e-5, atol=1e-5)
        assert torch.equal(head(backbone(x)), before)


def test_what_is_switched_off_one_after_another():
    backbone = tuned("ast", "ipet")[0].model.backbone
    found = conditions_of(backbone, "ipet")
    assert list(found) == [
        *[(i, name) for i in range(2) for name in ("prompts", "adapter", "both")],
        *[(None, name) for name in ("prompts", "adapter", "both")],
    ]
    assert found[1, "both"] == [(1, "prompts"), (1, "adapter")]
    assert found[None, "adapter"] == [(0, "adapter"), (1, "adapter")]
    assert list(conditions_of(tuned("ast", "lora")[0].model.backbone, "lora")) == [
        (0, "lora"),
        (1, "lora"),
        (None, "lora"),
    ]
    assert conditions_of(tuned("ast", "linear")[0].model.backbone, "linear") == {}
    assert conditions_of(tuned("ast", "bitfit")[0].model.backbone, "bitfit") == {(None, "frozen"): None}


# Similarity -----------------------------------------------------------------------------------------


def test_linear_cka_is_its_formula_whatever_the_batches():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((40, 5)) + 30, rng.standard_normal((40, 3))
    y[:, 0] += x[:, 0]
    a, b = x - x.mean(axis=0), y - y.mean(axis=0)
    wanted = np.linalg.norm(b.T @ a) ** 2 / (np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b))
    cka = LinearCKA()
    for part in (slice(0, 1), slice(1, 20), slice(20, 40)):
        cka.add(torch.from_numpy(x[part]), torch.from_numpy(y[part]))
    assert cka.value == pytest.approx(wanted, rel=1e-9) and 0.05 < wanted < 0.95
    turned = LinearCKA()
    turn, _ = np.linalg.qr(rng.standard_normal((5, 5)))
    turned.add(torch.from_numpy(x), torch.from_numpy(3 * x @ turn + 7))
    assert turned.value == pytest.approx(1)
    assert LinearCKA().value is None
    still = LinearCKA()
    still.add(torch.ones(4, 2), torch.from_numpy(x[:4]))
    assert still.value is None


@pytest.mark.parametrize("kind", ["ast", "wav2vec2", "wavlm"])
def test_states_of_a_tuned_and_of_an_untouched_network_are_pooled_alike(kind):
    model, bare = tuned(kind, "ipet")
    x, parts = an_input(kind), [(i, part) for i in range(2) for part in KINDS["ipet"]]
    with torch.no_grad(), pooled_states(bare) as wanted, pooled_states(model.model.backbone) as found:
        bare(x)
        with without(model.model.backbone, parts):
            model.model.backbone(x)
        assert list(found) == list(wanted) == [0, 1] and found[1].shape == (N, 48)
        for i in wanted:
            torch.testing.assert_close(found[i], wanted[i], rtol=1e-5, atol=1e-5)
        model.model.backbone(x)
        assert not torch.allclose(found[1], wanted[1], atol=1e-2)


# A list ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    return write_lists(tmp_path_factory.mktemp("lists"), train_1=8, eval_1=6)


@pytest.mark.parametrize("kind", ["ast", "wav2vec2"])
def test_each_condition_is_what_the_model_answers_then(kind, lists):
    model, bare = tuned(kind, "ipet")
    task = read_task(model, lists / "eval_1.json", None, None, None, 0)
    hearing = Hearing(model, bare, task, lambda num: None)
    before, layers = hearing.look()
    waveforms = [model.read(clip.path) for clip in task.clips.clips]
    wanted = torch.stack(list(model.run(waveforms)))  # [N, S, C]
    np.testing.assert_allclose(before.scores, wanted[:, 0].log_softmax(-1).numpy(), rtol=1e-4, atol=1e-5)
    losses = nn.functional.cross_entropy(wanted[:, 0], torch.from_numpy(task.targets), reduction="none")
    np.testing.assert_allclose(before.losses, losses.numpy(), rtol=1e-4, atol=1e-5)
    assert len(layers) == 2 and all(0 < row["cka"] < 1 for row in layers)
    conditions = conditions_of(model.model.backbone, "ipet")
    assert hearing.at_once == HELD // (6 * 4 * 4)
    hearing.at_once = 2  # the list is heard several times
    heard = dict(hearing.outputs(conditions))
    assert list(heard) == list(conditions)
    for condition in ((1, "prompts"), (None, "adapter")):
        with without(model.model.backbone, conditions[condition]):
            wanted = torch.stack(list(model.run(waveforms)))
        np.testing.assert_allclose(heard[condition], wanted.numpy(), rtol=1e-4, atol=1e-5)


def test_clips_of_variable_length_are_heard_one_by_one(lists):
    model, bare = tuned("ast", "ipet")
    model.model.front_end.variable_length = True
    hearing = Hearing(
        model, bare, read_task(model, lists / "eval_1.json", None, None, None, 0), lambda num: None
    )
    assert [len(batch.index) for batch in hearing.loader()] == [1] * 6
    scored, layers = hearing.look()
    waveforms = [model.read(clip.path) for clip in hearing.task.clips.clips]
    wanted = torch.cat(list(model.run(waveforms)))  # in one batch, with masks
    np.testing.assert_allclose(scored.scores, wanted.log_softmax(-1).numpy(), rtol=1e-4, atol=1e-5)
    assert all(0 < row["cka"] < 1 for row in layers)


def test_a_change_is_paired_over_the_same_clips(lists):
    model, bare = tuned("ast", "ipet")
    task = read_task(model, lists / "eval_1.json", None, None, None, 0)
    right = task.targets.astype(np.float32)
    wrong = right.copy()
    wrong[0] = right[0][::-1]  # one of six clips
    hearing = Hearing(model, bare, task, lambda num: None)
    before, after = hearing.scored(right[:, None]), hearing.scored(wrong[:, None])
    found = change(task, before, after)
    assert found["value"] == pytest.approx(accuracy(wrong, task.targets)) == pytest.approx(5 / 6)
    assert found["change"] == pytest.approx(-1 / 6)
    # The clip is drawn 1 time of 6 on average, with a standard deviation of 0.15, Student's t of 5 is 2.0.
    assert found["low"] == pytest.approx(-1 / 6 - 2 * 0.15, abs=0.06)
    assert found["high"] == pytest.approx(-1 / 6 + 2 * 0.15, abs=0.06)
    # of the clip: log(e + 3) - 1 before, log(e + 3) after
    assert found["loss_change"] == pytest.approx(1 / 6, rel=1e-5)
    same = change(task, before, before)
    assert same["change"] == same["low"] == same["high"] == same["loss_change"] == 0


@pytest.mark.parametrize("method, without_of_a_layer", [("lora", ["lora"]), ("bitfit", []), ("linear", [])])
def test_methods_without_prompts_and_adapter_say_so(method, without_of_a_layer, lists):
    model, bare = tuned("wav2vec2", method)
    found = measure(model, bare, read_task(model, lists / "eval_1.json", None, None, 4, 0))
    assert found["clips"] == 4
    assert [list(row["without"]) for row in found["layers"]] == [without_of_a_layer] * 2
    note = {"lora": None, "bitfit": "no layer's part can be switched off", "linear": "nothing to switch off"}
    assert (found["note"] is None) if note[method] is None else note[method] in found["note"]
    assert list(found["all"]["without"]) == {"lora": ["lora"], "bitfit": ["frozen"], "linear": []}[method]
    assert all(row["cka"] == pytest.approx(1, abs=1e-9) or method != "linear" for row in found["layers"])
    assert all(row.get("attention") is None and row.get("adapter_to_ffn") is None for row in found["layers"])


def test_speakers_are_compared_by_trials(tmp_path):
    for i, name in enumerate(UTTERANCES):
        write_wav(tmp_path / name, 0.5, seed=i)
    data = [{"wav": name, "labels": name[:2]} for name in UTTERANCES]
    (tmp_path / "test.json").write_text(json.dumps({"data": data}))
    ring = zip(UTTERANCES, UTTERANCES[1:] + UTTERANCES[:1])
    rows = [f"{int(a[:2] == b[:2])} {a} {b}" for a, b in ring]
    (tmp_path / "trials.txt").write_text("\n".join(rows) + "\n")
    model, bare = tuned("wav2vec2", "prompt", SpeakerHead)
    task = read_task(model, tmp_path / "test.json", None, tmp_path / "trials.txt", None, 0)
    found = measure(model, bare, task)
    assert (found["metric"], found["trials"], found["clips"], found["loss"]) == ("EER", 6, 6, None)
    hearing = Hearing(model, bare, task, lambda num: None)
    scored, _ = hearing.look()
    assert found["value"] == pytest.approx(eer(scored.scores, task.targets))
    assert found["layers"][0]["without"]["prompts"].keys() == {"value", "change", "low", "high"}
    with pytest.raises(ValueError, match=r"test\.json: the adapter verifies speakers: expected -trials FILE"):
        read_task(model, tmp_path / "test.json", None, None, None, 0)
    with pytest.raises(ValueError, match="the adapter tells classes: expected no -trials"):
        read_task(tuned("ast", "linear")[0], tmp_path / "test.json", None, tmp_path / "trials.txt", None, 0)
    with pytest.raises(ValueError, match=r"-clips 2 leaves . targets among 1 trials"):
        read_task(model, tmp_path / "test.json", None, tmp_path / "trials.txt", 2, 0)
    pairs = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    chosen = few_utterances(pairs, 3, np.random.default_rng(0))
    assert len(np.unique(pairs[chosen])) <= 3 and len(chosen) >= 1


# The command ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def adapter(lists, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    save_backbone(build_ast(64, size="tiny"), folder / "ast")
    flags = ["-frame_length", 64, "-fold", 1, "-freqm", 4, "-epoch", 1, "-batch_size", 4, "-lr", "1e-2"]
    run_here("ast_esc50", *tiny(lists, folder, *flags), "-pretrained", folder / "ast")
    [found] = folder.rglob("last")
    return found


def test_the_command_tells_a_row_a_layer(adapter, lists, tmp_path, capsys):
    result = json.loads((adapter.parent / "result.json").read_text())
    command = ["inspect", str(adapter), str(lists / "eval_1.json")]
    assert main([*command, "-out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{adapter}: ipet, 6 clips of {lists / 'eval_1.json'}"
    trained = result["history"][-1]
    assert lines[1].startswith(f"accuracy {100 * trained['eval_accuracy']:.2f} %, loss ")
    assert float(lines[1].split()[-1]) == pytest.approx(trained["eval_loss"], abs=2e-4)
    assert [line.split()[0] for line in lines[3:6]] == ["layer", "1", "2"]
    assert [line.split("  ")[0] for line in lines[8:]] == [
        *[f"layer {i}: {name}" for i in (1, 2) for name in ("prompts", "adapter", "both")],
        *[f"all: {name}" for name in ("prompts", "adapter", "both")],
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("adapter.png", "attention.png", "inspect.csv", "inspect.json", "inspect.txt"),
        *("similarity.png", "without.png"),
    ]
    found = json.loads((tmp_path / "inspect.json").read_text())
    with open(tmp_path / "inspect.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["layer"] for row in rows] == ["1", "2", "all"] and rows[2]["attention"] == ""
    assert float(rows[1]["attention"]) == found["layers"][1]["attention"]
    assert float(rows[2]["both_change"]) == found["all"]["without"]["both"]["change"]
    assert main([*command, "-clips", "4", "-json", "-", "-csv", str(tmp_path / "a.csv")]) == 0
    assert json.loads(capsys.readouterr().out)["clips"] == 4 and (tmp_path / "a.csv").is_file()


def test_a_list_with_other_labels_is_refused(adapter, lists, tmp_path, capsys):
    foreign = write_lists(tmp_path, eval_1=2, num_classes=4)
    table = foreign / "labels.csv"
    for text, said in (
        (table.read_text().replace("/m/02", "/m/cat"), "label 2 is '/m/cat', the adapter's is '/m/02'"),
        (table.read_text() + "4,/m/04,class 4\n", "has 5 labels, the adapter 4"),
    ):
        table.write_text(text)
        assert main(["inspect", str(adapter), str(foreign / "eval_1.json")]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {table}: {said}")
        write_lists(tmp_path, eval_1=2, num_classes=4)


@pytest.mark.parametrize("scoring", ["cosine", "mean_distance"])
def test_trials_are_scored_as_in_the_adapter_s_training(scoring):  # B13
    embeddings = np.random.default_rng(0).standard_normal((4, 2, 3)).astype(np.float32)
    pairs = np.array([[0, 1], [2, 3], [0, 3]])
    hearing = SimpleNamespace(
        task=SimpleNamespace(pairs=pairs), model=SimpleNamespace(device="cpu", scoring=scoring)
    )
    want = score_trials(torch.from_numpy(embeddings), pairs, scoring)
    np.testing.assert_array_equal(Hearing.scored(hearing, embeddings).scores, want)
    labels = [{"mid": "/m/0", "name": "a"}, {"mid": "/m/1", "name": "b"}]
    model = nn.Module()
    model.front_end, model.weight = (
        SimpleNamespace(num_segments=1, num_samples=9),
        nn.Parameter(torch.ones(1)),
    )
    description = {"labels": labels, "loss": "cce", "scoring": scoring}
    assert TunedModel(model, Cut(9), description).scoring == scoring
