"""The original code's command lines: each of its flags works here, or says what replaces it (D3)."""

import json
import re
import subprocess
import sys
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pytest
import torch

from ipet import beginning
from ipet.beginning import recipe_of
from ipet.experiment import settings_of
from ipet.launch import choose_gpus
from ipet.list_files import list_file
from ipet.logbook import Logbook, read_rows
from ipet.loggers import LOGGERS, Logger
from ipet.parsing import NO, YES, Parser
from ipet.recipe import new_optimizer
from ipet.rerun import flags_of, json_values
from ipet.splits import Cell

from helpers import ROOT, experiment, run_here, tiny, write_lists

PUBLISHED, AST_16 = "MIT/ast-finetuned-audioset-10-10-0.4593", "MIT/ast-finetuned-audioset-16-16-0.442"
WAVLM = "microsoft/wavlm-base-plus"
UNUSED = None  # in place of an effect: accepted, and reported with what replaces it
EVERYWHERE = {  # flag: (its value, {setting: value that it becomes})
    "amsgrad": ("True", {"amsgrad": True}),
    "description": ("a first try", {"description": "a first try"}),
    "path_logging": ("/logs", {"path_run": Path("/logs")}),
    "path_training_dataset": ("/l/train.json", {"path_training_dataset": Path("/l/train.json")}),
    "path_validation_dataset": ("/l/valid.json", {"path_validation_dataset": Path("/l/valid.json")}),
    "path_evaluation_dataset": ("/l/test.json", {"path_evaluation_dataset": Path("/l/test.json")}),
    "path_data_label": ("/l/labels.csv", {"path_data_label": Path("/l/labels.csv")}),
    "number_iteration_for_log": ("50", {"number_iteration_for_log": 50}),
    "backend_module_name": ("linear", UNUSED),
    "main_module_name": ("AST", UNUSED),
    "finetuning_task": ("ESC50", UNUSED),
    "input_prompt": ("False", {"method": "ipet"}),
    "input_prompt_num": ("4", {"border": 4}),
    "weigth_decay": ("0.1", {"weight_decay": 0.1}),
    "flag_reproduciable": ("no", {"flag_reproducible": False}),
    "num_workers": ("8", {"num_workers": 8}),
    "usable_gpu": ("0,1", {"usable_gpu": (0, 1)}),
}
OF_AST = {
    "imagenet_pretrain": ("True", {"pretrained": PUBLISHED}),
    "audioset_pretrain": ("False", {"pretrained": "imagenet"}),
    "model_size": ("base384", {"size": "base"}),
    "model_type": ("MIT/ast-finetuned-audioset-16-16-0.442", {"pretrained": AST_16}),
    "skip_norm": ("True", {"norm_mean": 0.0, "norm_std": 0.5}),
}
OF_SPEECH = {
    "imagenet_pretrain": ("True", UNUSED),
    "audioset_pretrain": ("True", UNUSED),
    "skip_norm": ("False", UNUSED),
    "model_size": ("base", {"size": "base"}),
    "model_type": (WAVLM, {"pretrained": WAVLM, "model_type": "auto"}),
}
OF_SPEAKERS = {
    "path_musan": ("/data/musan", {"path_musan": Path("/data/musan")}),
    "path_rir": ("/data/RIRS_NOISES", {"path_rir": Path("/data/RIRS_NOISES")}),
    "path_validation_dataset": ("/l/valid.json", UNUSED),
}
FLAGS_OF = {  # experiment: the flags that the original has, and this repository spelt otherwise or refused
    "ast_fsd50k": EVERYWHERE | OF_AST,
    "w2v_fsd50k": EVERYWHERE | OF_SPEECH,
    "ast_voxceleb": EVERYWHERE | OF_AST | OF_SPEAKERS,
    "w2v_voxceleb": EVERYWHERE | OF_SPEECH | OF_SPEAKERS,
}
each_flag = pytest.mark.parametrize(
    "name, flag", [(name, flag) for name, flags in FLAGS_OF.items() for flag in flags]
)


def parse(name, *flags):
    with experiment(name) as load:
        return load("arguments").get_args(["-name", "x", *map(str, flags)])


def refusal(capsys, name, *flags):
    with pytest.raises(SystemExit) as stop:
        parse(name, *flags)
    [line] = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and line.startswith("error: ")
    return line


# All of them ------------------------------------------------------------------------------------------


@each_flag
def test_a_flag_of_the_original_reaches_its_setting_or_says_what_replaces_it(name, flag, capsys):  # D3
    value, effect = FLAGS_OF[name][flag]
    settings = vars(parse(name, f"-{flag}", value))
    err = capsys.readouterr().err
    if effect is UNUSED:
        assert re.search(rf"^warning: command line: 1 of 2 flags left out: .*\(-{flag} .*\); \S", err)
        assert settings.get(flag) is None
    else:
        assert err == "" and {key: settings[key] for key in effect} == effect


@pytest.mark.parametrize("name", FLAGS_OF)
def test_the_help_has_every_flag_of_the_original(name, capsys):
    with pytest.raises(SystemExit):
        parse(name, "-h")
    text = capsys.readouterr().out
    for flag in FLAGS_OF[name]:
        assert re.search(rf"(^|, |  )-{flag}\b", text, re.MULTILINE), flag


@each_flag
def test_a_setting_of_the_original_s_flag_is_repeated_by_rerun_and_passed_on_by_sweep(name, flag):  # D3
    """Both ask ``settings_of``; ``rerun`` spells the flags from what ``arguments.json`` holds."""
    given = [f"-{flag}={FLAGS_OF[name][flag][0]}"]
    settings = settings_of(ROOT / name, given)
    assert settings | {"name": "x"} == vars(parse(name, *given))
    spelt = flags_of(json_values(settings), partial(settings_of, ROOT / name), "passport.json")
    again = settings_of(ROOT / name, [*spelt, f"-path_run={settings['path_run']}"])
    assert again == settings


@pytest.mark.parametrize("name", ["ast_esc50", "w2v_voxceleb"])
def test_flags_without_effect_are_reported_with_what_replaces_them(name, capsys):
    args = parse(name, "-main_module_name", "AST", "-backend_module_name", "fc", "-finetuning_task", "ESC50")
    assert not {"main_module_name", "backend_module_name", "finetuning_task"} & vars(args).keys()
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 3
    for line in err.splitlines():
        assert line.startswith("warning: command line: 1 of 4 flags left out: ")
    assert "(-main_module_name AST); -pretrained, -size and -model_type choose another one" in err
    assert "(-finetuning_task ESC50); run main.py of another folder, such as ast_gtzan" in err


@pytest.mark.parametrize("rank, launched, lines", [("0", None, 1), ("1", None, 0), ("0", "7", 0)])
def test_one_process_of_a_run_reports_its_flags(monkeypatch, capsys, rank, launched, lines):
    monkeypatch.setenv("RANK", rank)
    if launched:
        monkeypatch.setenv("IPET_LAUNCHED", launched)
    parse("ast_esc50", "-main_module_name", "AST")
    assert len(capsys.readouterr().err.splitlines()) == lines


@pytest.mark.parametrize("text", [*YES, *NO, "Yes", "NO", "T", "F", "tRUE"])
def test_a_switch_accepts_every_spelling_of_the_original(text):
    assert parse("ast_esc50", "-adapter", text).adapter is (text.lower() in YES)


# Training ---------------------------------------------------------------------------------------------


def test_amsgrad_reaches_the_optimiser():
    model = torch.nn.Linear(2, 2)
    model.own_names = {}
    for value in (True, False):
        recipe = recipe_of(parse("w2v_esc50", "-amsgrad", value), torch.device("cpu"))
        optimizer = new_optimizer(model, recipe)
        assert optimizer.defaults["amsgrad"] is value


def test_algorithms_are_deterministic_by_default_as_in_the_original():
    assert parse("ast_esc50").flag_reproducible is True
    assert parse("ast_esc50", "-flag_reproduciable", "False").flag_reproducible is False


@pytest.mark.parametrize("total, processes, each", [(8, 1, 8), (8, 4, 2), (9, 4, 3), (2, 4, 1), (0, 4, 0)])
def test_workers_are_counted_over_all_processes(monkeypatch, total, processes, each):
    monkeypatch.setattr(beginning.distributed, "world_size", lambda: processes)
    args = parse("ast_esc50", "-num_workers", total)
    assert recipe_of(args, torch.device("cpu")).num_workers == each


def test_loggers_get_every_nth_step_and_the_file_every_step(tmp_path, monkeypatch):
    got = []

    class Kept(Logger):
        def scalars(self, values, step):
            got.append((step, *values))

    monkeypatch.setitem(LOGGERS, "kept", Kept)
    logbook = Logbook(tmp_path, ("kept",), log_every=3)
    for step in range(1, 8):
        logbook.log("step", 1, step, loss=1.0)
    logbook.log("epoch", 1, 7, train_loss=0.5)
    logbook.close()
    assert got == [(3, "step/loss"), (6, "step/loss"), (7, "epoch/train_loss")]
    assert len(read_rows(tmp_path / "metrics.jsonl")) == 8
    got.clear()
    Logbook(tmp_path, ("kept",), last_step=7, last_epoch=1, log_every=3).close()
    assert got == [(3, "step/loss"), (6, "step/loss"), (7, "epoch/train_loss")]


@pytest.mark.parametrize(
    "words, numbers",
    [
        (["0,1,2"], (0, 1, 2)),
        (["0, 1, 2"], (0, 1, 2)),
        (["0", "1"], (0, 1)),
        (["0,", "1"], (0, 1)),
        (["1,1"], (1,)),
        ([""], None),
    ],
)
def test_gpus_are_given_with_commas_or_spaces_and_none_means_all(words, numbers):
    assert parse("ast_esc50", "-usable_gpu", *words).usable_gpu == numbers
    if numbers is None:
        choose_gpus(None)


@pytest.mark.parametrize("text", ["²", "0,x", "-1", "99999999999999999999"])
def test_a_gpu_is_a_number(capsys, text):
    assert "is not a list of GPU numbers such as 0,1" in refusal(capsys, "ast_esc50", f"-usable_gpu={text}")


def test_a_run_keeps_its_description_and_goes_on_with_another(tmp_path):
    lists = write_lists(tmp_path / "lists", train=4, valid=2, test=2)
    flags = [*tiny(lists, tmp_path, "-epoch", 1, "-batch_size", 4, "-frame_length", 40)]
    folder = run_here("w2v_speechcommands", *flags, "-description", "two words")
    assert json.loads((folder / "arguments.json").read_text())["description"] == "two words"
    run_here("w2v_speechcommands", *flags, "-description", "other words", "-resume")


# The input prompt -------------------------------------------------------------------------------------


def test_the_input_prompt_of_ast_is_a_method(capsys):
    off = ["-embedding_prompt", "False", "-adapter", "no"]
    args = parse("ast_esc50", "-input_prompt", "True", "-input_prompt_num", 8, *off)
    assert (args.method, args.border) == ("input_prompt", 8)
    assert capsys.readouterr().err == ""
    assert parse("ast_esc50", "-input_prompt", "True").method == "input_prompt"
    assert "the input prompt is not combined with prompts and adapters" in capsys.readouterr().err
    assert parse("ast_esc50", "-input_prompt", "False").method == "ipet"


def test_the_input_prompt_of_wav2vec2_only_freezes_the_backbone(capsys):
    off = ["-embedding_prompt", "False", "-adapter", "False"]
    assert parse("w2v_esc50", "-input_prompt", "True", *off).method == "linear"
    assert parse("w2v_esc50", "-input_prompt", "True").method == "ipet"
    assert "wav2vec 2.0 has no input prompt" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags, said",
    [
        (["-input_prompt", "True", "-adapter", "True"], "not combined with -adapter True"),
        (["-input_prompt", "True", "-method", "lora"], "is -method input_prompt, not -method lora"),
        (
            ["-skip_norm", "True", "-norm_mean", "-4"],
            "-skip_norm True and -norm_mean: no value is normalised",
        ),
        (["-audioset_pretrain", "False", "-pretrained", "random"], "both choose the weights"),
        (["-imagenet_pretrain", "False"], "accepted: -audioset_pretrain False too"),
        (["-model_size", "tiny224"], "-audioset_pretrain False takes the ImageNet weights of tiny224"),
        (["-model_size", "huge"], "invalid choice: 'huge' (choose from"),
        (["-model_type", "wavlm"], "wav2vec 2.0 is in the w2v_ experiments"),
        (["-model_type", "a/b", "-audioset_pretrain", "False"], "both choose the weights"),
    ],
)
def test_what_contradicts_itself_is_refused_with_what_is_accepted(capsys, flags, said):
    assert said in refusal(capsys, "ast_esc50", *flags)


def test_skip_norm_leaves_log_mels_as_they_are():
    args = parse("ast_esc50", "-skip_norm", "True")
    assert (torch.tensor(3.0) - args.norm_mean) / (2 * args.norm_std) == 3.0
    assert parse("ast_esc50", "-skip_norm", "False").norm_mean == parse("ast_esc50").norm_mean


# Weights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flags, pretrained",
    [
        ([], "MIT/ast-finetuned-audioset-10-10-0.4593"),
        (
            ["-imagenet_pretrain", "True", "-audioset_pretrain", "True"],
            "MIT/ast-finetuned-audioset-10-10-0.4593",
        ),
        (["-audioset_pretrain", "False"], "imagenet"),
        (["-audioset_pretrain", "False", "-imagenet_pretrain", "False"], "random"),
        (["-audioset_pretrain", "True", "-pretrained", "a.pth"], "a.pth"),
    ],
)
def test_the_switches_of_pretraining_choose_the_weights(flags, pretrained):
    assert parse("ast_esc50", *flags).pretrained == pretrained


def test_sizes_of_the_authors_of_ast_are_accepted():
    assert parse("ast_esc50", "-model_size", "base384").size == "base"
    args = parse("ast_esc50", "-model_size", "small224", "-audioset_pretrain", "False")
    assert (args.size, args.pretrained) == ("small224", "imagenet")


@pytest.mark.parametrize("hub_id", ["facebook/wav2vec2-base", "facebook/hubert-base-ls960", WAVLM])
def test_a_hub_id_of_a_speech_model_is_read_as_its_weights_say(hub_id):
    args = parse("w2v_esc50", "-model_type", hub_id)
    assert (args.model_type, args.pretrained) == ("auto", hub_id)


def test_a_hub_id_of_ast_is_the_weights():
    assert parse("ast_esc50", "-model_type", AST_16).pretrained == AST_16
    assert parse("ast_esc50", "-model_type", AST_16, "-pretrained", "random").pretrained == "random"
    assert parse("ast_esc50", "-model_type", "ast").pretrained == PUBLISHED
    args = parse("ast_esc50", "-model_type", AST_16, "-model_size", "base384")
    assert (args.size, args.pretrained) == ("base", AST_16)


def test_a_hub_id_of_a_model_type_is_also_the_weights():
    args = parse("w2v_esc50", "-model_type", "facebook/wav2vec2-base")
    assert (args.model_type, args.pretrained) == ("auto", "facebook/wav2vec2-base")
    args = parse("w2v_esc50", "-model_type", "facebook/wav2vec2-base", "-pretrained", "/weights")
    assert (args.model_type, args.pretrained) == ("auto", "/weights")
    args = parse("w2v_esc50", "-model_type", "facebook/hubert-base-ls960", "-pretrained", "random")
    assert (args.model_type, args.pretrained) == ("hubert", "random")


@pytest.mark.parametrize(
    "flags, said",
    [
        (
            ["-model_type", "magic"],
            "invalid choice: 'magic' (choose from wav2vec2, hubert, wavlm, auto, or a hub",
        ),
        (["-model_type", "/wavlm"], "invalid choice"),
        (["-model_type", "auto"], "expected -pretrained WEIGHTS"),
        (
            ["-model_type", "me/mine", "-pretrained", "random"],
            "expected -model_type wav2vec2, hubert or wavlm",
        ),
    ],
)
def test_a_model_type_that_names_no_weights_is_refused(capsys, flags, said):
    assert said in refusal(capsys, "w2v_esc50", *flags)


# Lists ------------------------------------------------------------------------------------------------


@pytest.fixture
def published(tmp_path):
    """Lists under names like those of the original, away from the folder of -path_list."""
    folder = write_lists(tmp_path / "p", train_1=4, train_2=3, eval_1=2, eval_2=3, train=6, valid=3, test=2)
    for name in ("train_1", "train_2", "train", "valid"):
        kind, _, fold = name.partition("_")
        number = f"_{fold}" if fold else ""
        (folder / f"{name}.json").rename(folder / f"esc_{kind}_data{number}.json")
    for name in ("eval_1", "eval_2", "test"):
        number = name.partition("_")[2]
        (folder / f"{name}.json").rename(folder / f"esc_eval_data{'_' * bool(number)}{number}.json")
    (folder / "labels.csv").rename(folder / "esc_class_labels_indices.csv")
    return folder


def list_flags(folder, number=""):
    return [
        *("-path_training_dataset", folder / f"esc_train_data{number}.json"),
        *("-path_evaluation_dataset", folder / f"esc_eval_data{number}.json"),
        *("-path_data_label", folder / "esc_class_labels_indices.csv"),
    ]


def lists_of(name, *flags):
    with experiment(name) as load:
        args = load("arguments").get_args(["-name", "x", *map(str, flags)])
        return partial(load("dataset").build_datasets, args), args


def test_list_files_of_folds_override_those_of_the_list_folder(published, tmp_path):
    flags = ["-fold", 2, "-path_list", tmp_path / "nothing", *list_flags(published, "_1")]
    build, args = lists_of("ast_esc50", *flags)
    assert args.path_data == published  # where the lists' paths start, if not given
    sizes = [(len(build(Cell(1, k)).train), len(build(Cell(1, k)).evaluation["eval"])) for k in (1, 2)]
    assert sizes == [(4, 2), (3, 3)]


def test_one_file_is_one_fold(published, capsys):
    build, _ = lists_of("ast_esc50", "-fold", 1, *list_flags(published, "_2"))
    assert len(build(Cell(1, 1)).train) == 3
    line = refusal(capsys, "ast_esc50", *list_flags(published, "_2"))
    assert "of 5 folds it names the file of fold 1, as in train_1.json" in line and "-fold 1" in line
    assert "names the file of fold 1" in refusal(capsys, "ast_esc50", *list_flags(published))


def test_list_files_of_a_split_override_those_of_the_list_folder(published):
    flags = [*list_flags(published), "-path_validation_dataset", published / "esc_valid_data.json"]
    build, _ = lists_of("w2v_speechcommands", *flags)
    datasets = build(Cell(1))
    assert [len(datasets.train), *map(len, datasets.evaluation.values())] == [6, 3, 2]


def test_list_files_are_enough_for_own_data(published):
    build, args = lists_of("w2v_custom", *list_flags(published, "_1"))
    assert args.fold == 2 and len(build(Cell(1, 2)).train) == 3
    _, args = lists_of("ast_custom", *list_flags(published))
    assert args.fold == 1  # without a validation list
    valid = ["-path_validation_dataset", published / "esc_valid_data.json"]
    assert lists_of("ast_custom", *list_flags(published), *valid)[1].fold == 0


def test_list_files_of_speakers_override_those_of_the_list_folder(published, tmp_path):
    (tmp_path / "trials.txt").write_text(
        "1 p/wav/test_0.wav p/wav/test_1.wav\n0 p/wav/test_1.wav p/wav/test_0.wav\n"
    )
    for path in published.glob("*.json"):
        path.write_text(path.read_text().replace('"wav/', '"p/wav/'))
    flags = [*list_flags(published), "-path_data", tmp_path]
    flags += ["-path_trial", tmp_path / "trials.txt", "-add_musan_rir", "False"]
    build, _ = lists_of("w2v_voxceleb", *flags)
    assert len(build(Cell(1)).train) == 6 and len(build(Cell(1)).trials.targets) == 2


@pytest.mark.parametrize(
    "name, remedy", [("ast_esc50", "-protocol nested holds"), ("ast_voxceleb", "leave the")]
)
def test_a_validation_list_that_nothing_reads_is_reported(capsys, name, remedy):
    args = parse(name, "-path_validation_dataset", "valid.json")
    assert args.path_validation_dataset is None
    err = capsys.readouterr().err
    assert (
        "this experiment has no validation list (-path_validation_dataset valid.json)" in err
        and remedy in err
    )


def test_the_last_number_of_a_list_file_is_its_fold(tmp_path):
    files = {"path_training_dataset": tmp_path / "esc50_train_data_1_v.json"}
    assert list_file(tmp_path, "train_3.json", files, 5).name == "esc50_train_data_3_v.json"
    assert list_file(tmp_path, "train_3.json", files, 1).name == "esc50_train_data_1_v.json"
    assert list_file(tmp_path, "eval_3.json", files, 5) == tmp_path / "eval_3.json"
    assert list_file(tmp_path, "labels.csv", None) == tmp_path / "labels.csv"


def test_a_run_from_list_files_is_repeated_from_its_passport(published, tmp_path):
    """Its flags are spelt from what arguments.json holds, and its lists are hashed."""
    valid = ["-path_validation_dataset", published / "esc_valid_data.json"]
    flags = [*list_flags(published), *valid, "-epoch", 1, "-batch_size", 4, "-frame_length", 40]
    folder = run_here("w2v_speechcommands", *tiny(tmp_path, tmp_path, *flags, "-path_data", published))
    passport = json.loads((folder / "passport.json").read_text())
    assert set(passport["lists"]) == {"train.json", "valid.json", "test.json", "labels.csv"}
    with experiment("w2v_speechcommands") as load:
        get_args = load("arguments").get_args
        spelt = flags_of(passport["arguments"], lambda words: vars(get_args([*words, "-name=x"])), "passport")
    assert f"-path_training_dataset={published}/esc_train_data.json" in spelt


@pytest.mark.parametrize(
    ("name", "number", "more"),
    [
        ("w2v_speechcommands", "", []),
        ("ast_fsd50k", "", ["-freqm", 8, "-timem", 8]),
        ("w2v_gtzan", "_1", ["-fold", 2]),
    ],
)
def test_list_files_start_a_run_where_lists_of_the_release_are_shipped(
    published, tmp_path, name, number, more
):
    flags = [*list_flags(published, number), "-path_data", published, "-name", "a", "-path_run", tmp_path]
    if not number:
        flags += ["-path_validation_dataset", published / "esc_valid_data.json"]
    flags += ["-pretrained", "random", "-size", "tiny", "-epoch", 1, "-batch_size", 2, "-frame_length", 40]
    folder = run_here(name, *flags, *more)
    passport = json.loads((folder / "passport.json").read_text())
    assert passport["results"]["cells"] and str(published) in passport["arguments"]["path_training_dataset"]


# Hints and help ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed, meant",
    [
        ("-path_train_dataset", "-path_training_dataset"),
        ("-path_labels", "-path_data_label"),
        ("-skipnorm", "-skip_norm"),
        ("-imagenet_pretrained", "-imagenet_pretrain"),
    ],
)
def test_a_misspelt_flag_of_the_original_is_hinted_at(capsys, typed, meant):
    assert f"did you mean {meant!r}?" in refusal(capsys, "ast_esc50", typed, "x")


def test_help_needs_no_library():
    """Milliseconds: nothing but the standard library is imported."""
    code = "import sys; sys.argv = ['main.py', '-h']; import arguments\n"
    code += "try: arguments.get_args()\nexcept SystemExit: pass\n"
    code += "sys.exit(repr({'torch', 'numpy', 'huggingface_hub', 'transformers'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "w2v_esc50", capture_output=True, text=True
    )
    assert done.stderr.strip() == "set()"


# The page for the original's users --------------------------------------------------------------------

PAGE = ROOT / "docs/coming_from_the_original.md"


def rows_of(heading):
    """The rows of the first table below a heading of the page, as lists of cells."""
    text = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [re.split(r" *\| *", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return rows[2:]


def parsers():
    """The parser of each experiment of ``FLAGS_OF``, as it is when the command line is read."""
    found = {}
    for name in FLAGS_OF:
        with pytest.MonkeyPatch.context() as patched, pytest.raises(StopIteration):

            def keep(self, *_, name=name, **__):
                found[name] = self
                raise StopIteration

            patched.setattr(Parser, "parse_args", keep)
            parse(name)
    return found


@pytest.mark.parametrize("name", FLAGS_OF)
def test_every_flag_of_the_page_is_accepted_where_it_says_so(name):  # D7
    known = parsers()[name].flags()
    for original, here, note in rows_of("Flags"):
        [flag] = re.findall(r"`(-\w+)`", original)
        groups = [g for g in ("ast_*", "*_voxceleb", "*_esc50") if note.startswith(f"`{g}`")]
        if any(not fnmatch(name, group) for group in groups):
            continue
        assert flag in known, flag
        for spelt in re.findall(r"`(-\w+)", here):
            assert spelt in known or spelt in ("-pretrained", "-norm_mean", "-norm_std"), spelt


def test_the_page_has_every_flag_that_is_accepted_for_the_original_s_sake():  # D7
    listed = {re.findall(r"`-(\w+)`", original)[0] for original, *_ in rows_of("Flags")}
    accepted = {flag for flags in FLAGS_OF.values() for flag in flags}
    for parser in parsers().values():
        groups = [g for g in parser._action_groups if (g.title or "").startswith("original code")]
        assert groups
        accepted |= {flag.lstrip("-") for g in groups for a in g._group_actions for flag in a.option_strings}
    assert accepted <= listed
    assert len(rows_of("Flags")) == len(listed)


def test_the_page_names_about_twenty_differences_with_their_switches():  # D7
    rows, flags = rows_of("Differences"), set().union(*(p.flags() for p in parsers().values()))
    assert len(rows) >= 20 and all(len(row) == 4 and all(row) for row in rows)
    for *_, here, switch in rows:
        for flag in re.findall(r"`(-[a-z]\w+)", here + switch):
            assert flag in flags or flag == "-seed", flag
