"""Warm starts: a training that begins from a saved adapter, also with other classes (D10)."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ipet.arguments import METHODS
from ipet.checkpoint import trainable_state
from ipet.description import WEIGHTS
from ipet.experiment import settings_of
from ipet.heads import SpeakerHead
from ipet.lists import Labels
from ipet.passport import read_passport
from ipet.rerun import notes
from ipet.saved import save_adapter
from ipet.warm_start import initialise, lines_of, map_classes

from helpers import ROOT, adapter, long, run_here, run_there, tiny, write_lists
from saving import save_backbone, tuned_model

NOISE = 0.1 * torch.randn(2, 10_240, generator=torch.Generator().manual_seed(0))
LENGTHS = torch.tensor([10_240, 10_240])


def labels_of(*names, mids=None):
    return Labels("labels.csv", tuple(mids or (f"/m/{name}" for name in names)), names)


def logits(model):
    with torch.no_grad():
        return model.eval()(NOISE, LENGTHS)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backbone") / "ast"
    save_backbone("ast", folder)
    return folder


def saved(backbone, folder, method="ipet", names=("a", "b", "c"), mids=None, head=None):
    """A trained-looking adapter of some classes; its model and its folder."""
    model, description = model_of(backbone, method, names, mids, head)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(7)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    save_adapter(folder, trainable_state(model), description)
    return model, folder


def model_of(backbone, method="ipet", names=("a", "b", "c"), mids=None, head=None):
    """A model with a new head for some classes, and its description."""
    model, description = tuned_model(backbone, method)
    kind = head or type(model.head)
    torch.manual_seed(len(names))
    model.head = kind(model.backbone.width, len(names))
    labels = labels_of(*names, mids=mids)
    description["labels"] = [{"mid": m, "name": n} for m, n in zip(labels.mids, labels.names)]
    return model, description


@pytest.mark.parametrize("head", [None, SpeakerHead], ids=["classes", "speakers"])
@pytest.mark.parametrize("method", METHODS)
def test_the_same_classes_give_the_same_outputs_before_training(backbone, tmp_path, method, head):
    # D10
    trained, folder = saved(backbone, tmp_path, method, head=head)
    model, _ = model_of(backbone, method, head=head)
    record, report = initialise(model, labels_of("a", "b", "c"), str(folder))
    assert torch.allclose(logits(model), logits(trained), atol=1e-6, rtol=0)
    assert record["classes"]["kept"] == 3 and not record["classes"]["moved"] and not report.warnings()


@pytest.mark.parametrize("head", [None, SpeakerHead], ids=["classes", "speakers"])
def test_a_permuted_label_table_permutes_the_outputs(backbone, tmp_path, head):
    # D10
    trained, folder = saved(backbone, tmp_path, head=head)
    model, _ = model_of(backbone, head=head)
    record, _ = initialise(model, labels_of("c", "a", "b"), str(folder))
    assert torch.allclose(logits(model), logits(trained)[:, [2, 0, 1]], atol=1e-6, rtol=0)
    assert record["classes"]["moved"] == {"c": [2, 0], "a": [0, 1], "b": [1, 2]}


@pytest.mark.parametrize("head", [None, SpeakerHead], ids=["classes", "speakers"])
def test_an_added_class_keeps_the_other_logits_and_begins_as_in_a_new_head(backbone, tmp_path, head):
    # D10
    trained, folder = saved(backbone, tmp_path, head=head)
    model, _ = model_of(backbone, names=("a", "new", "b", "c"), head=head)
    new_row = model.head.fc.weight[1].clone()
    record, report = initialise(model, labels_of("a", "new", "b", "c"), str(folder))
    assert torch.allclose(logits(model)[:, [0, 2, 3]], logits(trained), atol=1e-6, rtol=0)
    assert torch.equal(model.head.fc.weight[1], new_row)
    assert record["classes"]["added"] == ["new"] and not report.warnings()
    assert "3 classes kept (2 at another index), 1 added: new" in lines_of(record)[0]


def test_a_removed_class_is_counted_and_the_others_keep_their_logits(backbone, tmp_path):
    # D10
    trained, folder = saved(backbone, tmp_path)
    model, _ = model_of(backbone, names=("c", "a"))
    record, report = initialise(model, labels_of("c", "a"), str(folder))
    assert torch.allclose(logits(model), logits(trained)[:, [2, 0]], atol=1e-6, rtol=0)
    assert record["classes"]["removed"] == ["b"]
    [warning] = report.warnings()
    assert "1 of 3 classes left out: not among the 2 classes of labels.csv (b)" in warning


def test_classes_are_matched_by_name_and_not_by_an_id_that_means_another_class():
    # /m/gtzan00 is blues in one table and pop in another.
    old = [("/m/gtzan00", "blues"), ("/m/gtzan01", "pop")]
    assert map_classes(old, [("/m/gtzan00", "pop"), ("/m/gtzan01", "blues")]).rows == (1, 0)
    mapping = map_classes(old, [("/m/gtzan00", "jazz"), ("/m/x", "pop")])
    assert mapping.rows == (None, 1) and mapping.removed == (0,) and mapping.renumbered == ((0, 0),)


def test_spellings_of_one_name_are_one_class_and_equal_names_are_told_apart_by_their_ids():
    old = [("/m/1", "Dog_bark"), ("/m/2", "Café"), ("/m/3", "x"), ("/m/4", "x")]
    new = [("/m/9", "dog bark"), ("/m/8", "cafe\u0301"), ("/m/4", "x"), ("/m/3", "x")]
    assert map_classes(old, new).rows == (0, 1, 3, 2)
    assert map_classes(old, [("/m/7", "x")]).rows == (None,)  # which of the two, nobody knows
    assert map_classes([("/m/1", "dog"), ("/m/2", "Dog")], [("/m/5", "Dog")]).rows == (1,)


@pytest.mark.parametrize(
    "method, said",
    [
        ("lora", r"an adapter of -method ipet, this run is of -method lora; expected the same: give -method"),
        ("adapter", r"an adapter of -method ipet, this run is of -method adapter"),
    ],
)
def test_another_method_is_refused_with_both(backbone, tmp_path, method, said):
    _, folder = saved(backbone, tmp_path)
    model, _ = model_of(backbone, method)
    with pytest.raises(ValueError, match=said):
        initialise(model, labels_of("a", "b", "c"), str(folder))


def test_another_size_backbone_or_task_is_refused_with_both(backbone, tmp_path):
    _, folder = saved(backbone, tmp_path / "a")
    config = folder / "adapter_config.json"
    description = json.loads(config.read_text())
    model, _ = model_of(backbone)

    def refused(**changed):
        config.write_text(json.dumps(description | changed))
        with pytest.raises(ValueError) as caught:
            initialise(model, labels_of("a", "b", "c"), str(folder))
        assert "\n" not in str(caught.value) and str(config) in str(caught.value)
        return str(caught.value)

    size = description["tuning"]["bottleneck"]
    said = refused(tuning=description["tuning"] | {"bottleneck": 100})
    assert f"bottleneck 100 (here {size}); expected the same: give -adapter_hidden_dim 100" in said
    other = description["backbone"] | {"sha256": 64 * "0", "pretrained": "some/model"}
    assert "the backbone some/model (SHA-256 000000000000...)" in refused(backbone=other)
    config.write_text(json.dumps(description))
    speaker, _ = model_of(backbone, head=SpeakerHead)
    with pytest.raises(ValueError, match="the head of a model of classes, this experiment's is of speakers"):
        initialise(speaker, labels_of("a", "b", "c"), str(folder))


# Runs -----------------------------------------------------------------------------------------------

SHORT = ["-frame_length", 64, "-batch_size", 4, "-embedding_prompt_num", 3, "-adapter_hidden_dim", 4]


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run of one epoch on lists of four classes, and the lists."""
    folder = tmp_path_factory.mktemp("first")
    lists = write_lists(folder / "lists", train=9, valid=5, test=6)
    return run_here("w2v_custom", *tiny(lists, folder, *SHORT, "-epoch", 1)), lists


def write_labels(lists, *classes):
    rows = ["index,mid,display_name", *(f"{i},{mid},{name}" for i, (mid, name) in enumerate(classes))]
    (lists / "labels.csv").write_text("\n".join(rows) + "\n")


def with_labels(lists, folder, *classes):
    """The same lists under another label table."""
    shutil.copytree(lists, folder)
    write_labels(folder, *classes)
    return folder


def test_a_run_that_begins_from_an_adapter_evaluates_as_it_did_and_says_so(first, tmp_path, capsys):
    # D10: a learning rate of almost nothing leaves the model as it was
    folder, lists = first
    source = folder / "seed_1234/last"
    flags = tiny(lists, tmp_path, *SHORT, "-epoch", 1, "-init_adapter", source)
    again = run_here("w2v_custom", *flags, "-lr", 1e-12)
    was, now = (json.loads((run / "seed_1234/result.json").read_text()) for run in (folder, again))
    assert now["test_at_last_epoch"] == pytest.approx(was["test_at_last_epoch"], abs=1e-6)
    out = capsys.readouterr().out
    assert f"initialised from {source} (w2v_custom), SHA-256 " in out and "4 classes kept" in out
    passport = read_passport(again / "passport.json")
    record = passport["init_adapter"]
    assert record["sha256"] == passport_sha256(folder) and record["source"] == str(source)
    assert record["classes"]["kept"] == 4 and "init_adapter_sha256" not in passport["arguments"]
    with pytest.raises(ValueError, match="-init_adapter names another adapter than it began with, or none"):
        run_here("w2v_custom", *tiny(lists, tmp_path, *SHORT, "-epoch", 1, "-lr", 1e-12), "-resume")


def passport_sha256(folder):
    cells = read_passport(folder / "passport.json")["results"]["cells"]
    return cells["seed_1234"]["sha256"]["last/adapter_model.safetensors"]


def test_a_run_with_one_more_class_and_another_order_keeps_what_was_learnt(first, tmp_path):
    # D10
    folder, lists = first
    classes = [("/m/x", "a new one"), *((f"/m/{i:02d}", f"class {i}") for i in (3, 1, 0, 2))]
    others = with_labels(lists, tmp_path / "lists", *classes)
    flags = tiny(others, tmp_path, *SHORT, "-epoch", 1, "-init_adapter", folder / "seed_1234/last")
    again = run_here("w2v_custom", *flags, "-lr", 1e-12)
    got, want = adapter(again / "seed_1234/last"), adapter(folder / "seed_1234/last")
    assert got["head.fc.weight"].shape[0] == 5
    for name, tensor in want.items():
        found = got[name][[3, 2, 4, 1]] if name.startswith("head.fc.") else got[name]
        assert torch.allclose(found, tensor, atol=1e-6), name


def test_rerun_notes_that_the_adapter_of_the_beginning_has_changed(first, tmp_path):
    # D10
    folder, lists = first
    source = tmp_path / "source"
    shutil.copytree(folder / "seed_1234/last", source)
    flags = tiny(lists, tmp_path, *SHORT, "-epoch", 1, "-init_adapter", source)
    passport = read_passport(run_here("w2v_custom", *flags) / "passport.json")
    settings = settings_of(ROOT / "w2v_custom", [str(flag) for flag in flags])
    assert not any("-init_adapter" in note for note in notes(passport, ROOT / "w2v_custom", settings))
    shutil.rmtree(source)
    shutil.copytree(folder / "seed_1234/best", source)
    tensors = {name: tensor + 1 for name, tensor in adapter(source).items()}
    save_file(tensors, source / "adapter_model.safetensors")
    found = [note for note in notes(passport, ROOT / "w2v_custom", settings) if "-init_adapter" in note]
    assert found == [f"-init_adapter {source} is another adapter than it was"]


def test_a_fine_tuned_model_in_bf16_begins_from_the_whole_weights_of_another(first, tmp_path):
    # D10
    _, lists = first
    flags = [*SHORT, "-epoch", 1, "-method", "finetune", "-lr", 1e-12]
    sizes = ("-embedding_prompt_num", "-adapter_hidden_dim")
    flags = [word for i, word in enumerate(flags) if not {flags[i], flags[i - 1]} & set(sizes)]
    one = run_here("w2v_custom", *tiny(lists, tmp_path / "one", *flags), "-lr", 0.01)
    source = one / "seed_1234/last"
    other = run_here(
        "w2v_custom", *tiny(lists, tmp_path / "two", *flags), "-precision", "bf16", "-init_adapter", source
    )
    got, want = adapter(other / "seed_1234/last"), adapter(source)
    assert got.keys() == want.keys() and "backbone.layers.1.attention.value.weight" in got
    assert all(torch.allclose(got[name], want[name], atol=1e-6) for name in want)


@long
def test_two_processes_begin_from_the_same_adapter(first, tmp_path):
    # D10
    folder, lists = first
    flags = tiny(lists, tmp_path, *SHORT, "-epoch", 1, "-init_adapter", folder / "seed_1234/last")
    status, out, err = run_there("w2v_custom", *flags, "-lr", 1e-12, "-nproc", 2, "-num_workers", 1)
    assert status == 0, err
    assert out.count("initialised from ") == 1
    got, want = (adapter(run / "seed_1234/last") for run in (tmp_path / "IPET/t/a", folder))
    assert all(torch.allclose(got[name], want[name], atol=1e-6) for name in want)


class Trap:
    """Makes a file as soon as it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_an_adapter_that_would_run_code_is_refused_and_runs_none(backbone, tmp_path):
    _, folder = saved(backbone, tmp_path / "a")
    torch.save({"head.fc.bias": Trap(tmp_path / "made")}, folder / WEIGHTS)
    model, _ = model_of(backbone)
    with pytest.raises(ValueError, match="a torch pickle that holds nothing but tensors") as caught:
        initialise(model, labels_of("a", "b", "c"), str(folder))
    assert "\n" not in str(caught.value) and not (tmp_path / "made").exists()


def test_a_missing_adapter_is_told_before_the_run_begins(first, tmp_path):
    _, lists = first
    flags = tiny(lists, tmp_path, *SHORT, "-epoch", 1, "-init_adapter", tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="nothing: no such file or folder; accepted: the folder of a"):
        run_here("w2v_custom", *flags)
    assert not (tmp_path / "IPET").exists()


# More epochs ----------------------------------------------------------------------------------------


def test_a_finished_run_with_more_epochs_ends_as_a_run_of_all_of_them(first, tmp_path, capsys):
    # D10: the step schedule does not depend on the number of epochs
    _, lists = first
    once = run_here(
        "w2v_custom", *tiny(lists, tmp_path / "once", *SHORT, "-lr_schedule", "step"), "-epoch", 3
    )
    flags = tiny(lists, tmp_path / "twice", *SHORT, "-lr_schedule", "step")
    twice = run_here("w2v_custom", *flags, "-epoch", 1)
    capsys.readouterr()
    run_here("w2v_custom", *flags, "-epoch", 3, "-resume")
    assert "note: 3 epochs instead of 1; lr 0.0" in capsys.readouterr().out
    got, want = adapter(twice / "seed_1234/last"), adapter(once / "seed_1234/last")
    assert all(torch.equal(got[name], tensor) for name, tensor in want.items())
    results = [json.loads((run / "seed_1234/result.json").read_text()) for run in (once, twice)]
    assert results[0]["test_at_best_epoch"] == results[1]["test_at_best_epoch"]
    former = json.loads((twice / "seed_1234/result_1_epochs.json").read_text())
    assert [row["epoch"] for row in former["history"]] == [1]
    passport = read_passport(twice / "passport.json")
    assert passport["arguments"]["epoch"] == 3
    assert passport["starts"][-1]["extension"]["from_epoch"] == 1
    with pytest.raises(ValueError, match="-epoch was 3 and is 1"):
        run_here("w2v_custom", *flags, "-epoch", 1, "-resume")


def test_the_cosine_schedule_rises_again_and_that_is_recorded(first, tmp_path, capsys):
    # D10
    _, lists = first
    flags = tiny(lists, tmp_path, *SHORT, "-lr_schedule", "cosine", "-warmup_epoch", 0, "-lr", 0.01)
    folder = run_here("w2v_custom", *flags, "-epoch", 1)
    run_here("w2v_custom", *flags, "-epoch", 4, "-resume")
    assert "the curve is drawn over all epochs anew, so the rate rises again" in capsys.readouterr().out
    extension = json.loads((folder / "environment.json").read_text())[-1]["extension"]
    want = 0.01 * 0.5 * (1 + np.cos(np.pi / 4))
    assert extension["schedule"] == "cosine" and extension["lr_of_next_epoch"] == pytest.approx(want)


def test_a_run_whose_states_are_gone_keeps_its_result(first, tmp_path):
    _, lists = first
    flags = tiny(lists, tmp_path, *SHORT)
    folder = run_here("w2v_custom", *flags, "-epoch", 1)
    for path in folder.rglob("training_state*.pt"):
        path.unlink()
    with pytest.raises(ValueError, match=r"its training_state\.pt is gone: more epochs cannot continue it"):
        run_here("w2v_custom", *flags, "-epoch", 2, "-resume")
    assert (folder / "seed_1234/result.json").is_file()
    assert json.loads((folder / "arguments.json").read_text())["epoch"] == 1
