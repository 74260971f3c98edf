"""The command line: published defaults, the authors' flags, and one line for every mistake."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ipet import arguments
from ipet.arguments import (
    ast_arguments,
    ast_values,
    lists,
    method_values,
    wav2vec2_arguments,
    wav2vec2_values,
)
from ipet.methods import METHODS
from ipet.parsing import Parser, suggest

from helpers import EXPERIMENTS
from parity import PARITY, needs_parity

ROOT = Path(__file__).resolve().parents[1]
BACKBONES = {"ast": "AST", "w2v": "W2V2"}
DATASETS = {
    "esc50": "ESC50",
    "fsd50k": "FSD50K",
    "gtzan": "GTZAN",
    "speechcommands": "Speechcommands_V2",
    "voxceleb": "VoxCeleb1",
}
PUBLISHED = {
    f"{backbone}_{dataset}": f"{BACKBONES[backbone]}/{DATASETS[dataset]}"
    for backbone in BACKBONES
    for dataset in DATASETS
}
STATED = "_stated_in_repository_readme"  # what the authors' README says beside their code


def arguments_of(experiment):
    """``get_args`` of an experiment, from its file and under a name of its own."""
    path = ROOT / experiment / "arguments.py"
    spec = importlib.util.spec_from_file_location(f"arguments_of_{experiment}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_args


def published(experiment):
    """The settings of the authors' code, and 128 frames for Speech Commands, as their README has it."""
    settings = json.loads((PARITY / "settings.json").read_text())[PUBLISHED[experiment]]
    settings["frame_length"] = settings.get(f"frame_length{STATED}", settings["frame_length"])
    return settings


@pytest.fixture(params=["ast_esc50", "w2v_speechcommands", "w2v_voxceleb"])
def experiment(request):
    return request.param


@pytest.fixture
def get_args(experiment):
    return arguments_of(experiment)


def refusal(capsys, get_args, *argv):
    """The one line with which a command line is refused."""
    with pytest.raises(SystemExit) as stop:
        get_args(["-name", "x", *argv])
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    [line] = err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(" (-h lists the flags)")
    return line


# Defaults -----------------------------------------------------------------------------------------


def test_every_experiment_has_published_settings():
    assert set(PUBLISHED) == set(EXPERIMENTS)


@needs_parity
@pytest.mark.parametrize("experiment", PUBLISHED)
def test_every_default_is_the_published_setting(experiment):
    args, want = arguments_of(experiment)(["-name", "x"]), published(experiment)
    assert want.pop("rand_seed") == arguments.SEED
    assert {name: getattr(args, name) for name in want if not name.endswith(STATED)} == {
        name: value for name, value in want.items() if not name.endswith(STATED)
    }
    finetune = arguments_of(experiment)(["-name", "x", "-method", "finetune"])
    assert finetune.lr == want[f"lr_fine_tuning{STATED}"]


@needs_parity
@pytest.mark.parametrize("experiment", PUBLISHED)
def test_every_setting_of_the_authors_is_a_flag(experiment):
    settings = {n: v for n, v in published(experiment).items() if not n.endswith(STATED)}
    argv = [text for name, value in settings.items() for text in (f"-{name}", str(value))]
    args = arguments_of(experiment)(["-name", "x", *argv])
    settings["rand_seed"] = (settings["rand_seed"],)
    assert {name: getattr(args, name) for name in settings} == settings


def test_only_ast_has_flags_of_log_mels(capsys):
    argv = ["-name", "x", "-norm_mean", "-1.5", "-freqm", "8"]
    args = arguments_of("ast_esc50")(argv)
    assert (args.norm_mean, args.freqm) == (-1.5, 8)
    assert "unknown argument '-norm_mean'" in refusal(capsys, arguments_of("w2v_speechcommands"), *argv)


def test_a_misspelt_default_is_a_defect_of_the_experiment_with_a_hint():
    with pytest.raises(TypeError, match=r"default 'batchsize' is no flag; did you mean 'batch_size'\?"):
        ast_arguments(["-name", "x"], batchsize=3)
    with pytest.raises(TypeError, match="default 'freqm' is no flag"):  # AST's
        wav2vec2_arguments(["-name", "x"], freqm=24)


def test_lists_are_where_they_are_prepared_and_paths_become_absolute(get_args, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    args = get_args(["-name", "x", "-path_list", "lists", "-path_run", "~/runs"])
    assert args.path_list == tmp_path / "lists"
    assert args.path_data == tmp_path / "lists"  # unless it is given
    assert args.path_run == (Path.home() / "runs").resolve()
    assert get_args(["-name", "x", "-path_data", "clips"]).path_data == tmp_path / "clips"
    assert lists("esc50") == {"path_list": ROOT / "data" / "esc50"}


# The authors' flags -------------------------------------------------------------------------------


def test_the_authors_spellings_work_beside_the_right_ones(get_args):
    for spelling in ("-weigth_decay", "-weight_decay"):
        assert get_args(["-name", "x", spelling, "0.25"]).weight_decay == 0.25
    for spelling in ("-flag_reproduciable", "-flag_reproducible"):
        assert get_args(["-name", "x", spelling, "False"]).flag_reproducible is False


def test_authors_initialises_and_connects_adapters_as_they_do():
    ast, wav2vec2 = arguments_of("ast_esc50"), arguments_of("w2v_speechcommands")
    for get_args, residual in ((ast, False), (wav2vec2, True)):
        ours, theirs = get_args(["-name", "x"]), get_args(["-name", "x", "-authors", "True"])
        assert (ours.adapter_init, ours.adapter_residual) == ("zero", False)
        assert (theirs.adapter_init, theirs.adapter_residual) == ("normal", residual)


def test_an_explicit_flag_wins_over_authors_wherever_it_stands():
    get_args = arguments_of("w2v_speechcommands")
    for flags in (
        ["-authors", "True", "-adapter_init", "zero", "-adapter_residual", "False"],
        ["-adapter_residual", "False", "-adapter_init", "zero", "-authors"],
    ):
        args = get_args(["-name", "x", *flags])
        assert (args.adapter_init, args.adapter_residual) == ("zero", False)


# Switches and numbers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [("True", True), ("true", True), ("TRUE", True), ("False", False), ("false", False)],
)
def test_a_switch_takes_true_or_false_in_any_case(get_args, text, value):
    assert get_args(["-name", "x", "-adapter", text]).adapter is value


def test_a_switch_alone_means_true(get_args):
    assert get_args(["-name", "x"]).resume is False
    assert get_args(["-name", "x", "-resume"]).resume is True
    assert get_args(["-resume", "-name", "x"]).name == "x"


@pytest.mark.parametrize("text", ["2", "maybe", "on", ""])
def test_a_switch_takes_nothing_else(capsys, get_args, text):
    assert f"argument -adapter: {text!r} is neither True nor False" in refusal(
        capsys, get_args, "-adapter", text
    )


@pytest.mark.parametrize(
    ("flag", "text", "accepted"),
    [
        ("-lr", "-1", "a number above 0"),
        ("-lr", "0", "a number above 0"),
        ("-lr", "nan", "a number above 0"),
        ("-lr", "fast", "a number above 0"),
        ("-weight_decay", "-0.1", "a number at least 0"),
        ("-weight_decay", "nan", "a number at least 0"),
        ("-epoch", "0", "a whole number at least 1"),
        ("-epoch", "-3", "a whole number at least 1"),
        ("-epoch", "1.5", "a whole number at least 1"),
        ("-epoch", "ten", "a whole number at least 1"),
        ("-batch_size", "0", "a whole number at least 1"),
        ("-frame_length", "nan", "a whole number at least 1"),
        ("-fold", "-1", "a whole number at least 0"),
        ("-rand_seed", "-1", "a whole number at least 0"),
        ("-embedding_prompt_num", "0", "a whole number at least 1"),
        ("-adapter_hidden_dim", "-8", "a whole number at least 1"),
        ("-mixup", "1.5", "a number at least 0, at most 1"),
        ("-mixup", "-0.5", "a number at least 0, at most 1"),
        ("-mixup", "nan", "a number at least 0, at most 1"),
        ("-nproc", "0", "a whole number at least 1"),
    ],
)
def test_a_number_out_of_bounds_is_refused_with_the_bounds(capsys, get_args, flag, text, accepted):
    line = refusal(capsys, get_args, flag, text)
    assert line.startswith(f"error: argument {flag}")
    assert re.search(re.escape(f": {text!r} is not {accepted}") + r"(, at most \d+)? \(", line), line


@pytest.mark.parametrize(
    ("flag", "text", "accepted"),
    [
        ("-embedding_prompt_num", "1000000", "a whole number at least 1, at most 10000"),
        ("-prefix_num", "1000000", "a whole number at least 1, at most 10000"),
        ("-adapter_hidden_dim", "1000000", "a whole number at least 1, at most 16384"),
        ("-lora_rank", "1000000", "a whole number at least 1, at most 16384"),
        ("-frame_length", "1000000", "a whole number at least 1, at most 360000"),
        ("-nb_seg", "1000000", "a whole number at least 1, at most 10000"),
        ("-num_workers", "1000000", "a whole number at least 0, at most 1024"),
        ("-timeout", "1e12", "a number above 0, at most 100000"),
        ("-epoch", "1" + 400 * "0", "a whole number at least 1, at most 1000000000"),
        ("-budget", "1e300", "no number of parameters such as 300k, 1.5M or 250000, at most 100000000000"),
    ],
)
def test_an_absurd_size_is_refused_before_anything_is_built(capsys, flag, text, accepted):
    line = refusal(capsys, arguments_of("ast_esc50"), flag, text)
    assert (
        f"error: argument {flag}: {text[:40]!r} is {'' if accepted.startswith('no ') else 'not '}{accepted} ("
        in line
    )


@pytest.mark.parametrize(("flag", "text"), [("-norm_std", "0"), ("-timem", "-1"), ("-nfilts", "8")])
def test_a_number_of_log_mels_out_of_bounds_is_refused(capsys, flag, text):
    get_args = arguments_of("ast_esc50")
    assert f"argument {flag}: {text!r} is not " in refusal(capsys, get_args, flag, text)


def test_lists_of_gpus_and_loggers(capsys, get_args):
    args = get_args(["-name", "x", "-usable_gpu", "0,2", "-logger", "tensorboard,neptune"])
    assert args.usable_gpu == (0, 2)
    assert args.logger == ("tensorboard", "neptune")
    assert get_args(["-name", "x", "-logger", ""]).logger == ()
    assert get_args(["-name", "x"]).logger == ("tensorboard",)
    assert get_args(["-name", "x", "-logger", "wandb", "mlflow,wandb"]).logger == ("wandb", "mlflow")
    assert "'0,a' is not a list of GPU numbers such as 0,1" in refusal(capsys, get_args, "-usable_gpu", "0,a")
    assert "unknown logger 'fax'; accepted: tensorboard, neptune, trackio, wandb, mlflow" in refusal(
        capsys, get_args, "-logger", "tensorboard", "fax"
    )


# Names --------------------------------------------------------------------------------------------


def test_a_run_must_have_a_name(capsys, get_args):
    with pytest.raises(SystemExit) as stop:
        get_args([])
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "error: -name is missing: what shall this run be called? (-h lists the flags)\n"
    )


@pytest.mark.parametrize("flag", ["-name", "-tags", "-project"])
@pytest.mark.parametrize("text", ["a/b", "/a", "a\\b", "..", ".", ""])
def test_a_name_that_is_no_folder_s_is_refused(capsys, get_args, flag, text):
    assert f"argument {flag}: {text!r} cannot be a folder's name" in refusal(capsys, get_args, flag, text)


# Misspelt flags -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("-epo", "-epoch"),
        ("-batch", "-batch_size"),
        ("-batchsize", "-batch_size"),
        ("-adapter_hidden", "-adapter_hidden_dim"),
        ("-wieght_decay", "-weight_decay"),
        ("--epoch", "-epoch"),
        ("-epohc=3", "-epoch"),
    ],
)
def test_abbreviated_and_misspelt_flags_are_refused_with_a_hint(capsys, get_args, typed, meant):
    line = refusal(capsys, get_args, typed, "3")
    assert f"unknown argument {typed!r}; did you mean {meant!r}?" in line


def test_an_unlike_flag_gets_no_hint(capsys, get_args):
    assert refusal(capsys, get_args, "-zzzzzz") == ("error: unknown argument '-zzzzzz' (-h lists the flags)")
    assert suggest("-zzzzzz", ["-epoch"]) == ""


def test_a_flag_without_its_value_and_a_stray_word_are_refused(capsys, get_args):
    assert "argument -lr: expected one argument" in refusal(capsys, get_args, "-lr")
    assert "unknown argument 'stray'" in refusal(capsys, get_args, "stray")


def test_no_flag_is_a_prefix_s_guess():
    parser = Parser()
    parser.add_argument("-learning_rate")
    assert parser.parse_args(["-learning_rate", "3"]).learning_rate == "3"
    with pytest.raises(SystemExit):
        parser.parse_args(["-learning", "3"])


# Help ---------------------------------------------------------------------------------------------

HELP = """
import runpy, sys
sys.argv = ["main.py", *sys.argv[1:]]
sys.path.insert(0, ".")
try:
    runpy.run_path("main.py", run_name="__main__")
except SystemExit as stop:
    print(f"status {stop.code}, torch loaded: {'torch' in sys.modules}")
"""


@pytest.mark.parametrize(("flags", "status"), [(["-h"], 0), (["-name", "x", "-epoh", "3"], 2)])
def test_help_and_mistakes_are_answered_before_torch_is_loaded(experiment, flags, status):
    ended = subprocess.run(
        [sys.executable, "-c", HELP, *flags],
        cwd=ROOT / experiment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout.splitlines()[-1] == f"status {status}, torch loaded: False"


LOADED = """
import sys
import ipet.launch, ipet.inference, ipet.models, ipet.classification, ipet.verification, ipet.splits
slow = "timm", "transformers", "sklearn", "scipy.stats", "scipy.signal", "matplotlib"
print([name for name in slow if name in sys.modules])
import ipet.backbones.audio_spectrogram_transformer
print("transformers" in sys.modules)
"""


def test_a_start_loads_the_library_of_its_own_backbone_alone():
    ended = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == ["[]", "False"]


def test_help_shows_every_flag_with_its_default(capsys, get_args):
    with pytest.raises(SystemExit) as stop:
        get_args(["-h"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    args = get_args(["-name", "x"])
    for flag, value in (("-epoch EPOCH", args.epoch), ("-mixup P", args.mixup)):
        assert f"(default: {value})" in text[text.index(f" {flag} ") :][:120]
    finetune = get_args(["-name", "x", "-method", "finetune"])
    assert get_args(["-name", "x", "-method", "finetune_transformer"]).lr == finetune.lr
    assert f"(default: {args.lr}, for fine-tuning {finetune.lr})" in text
    assert "torchrun --nproc_per_node 4 main.py" in text


# Plain values -------------------------------------------------------------------------------------


def test_the_methods_are_those_of_the_package(capsys):
    assert set(arguments.METHODS) == set(METHODS)


@pytest.mark.parametrize(
    ("flags", "method"),
    [
        ([], "ipet"),
        (["-adapter", "False"], "prompt"),
        (["-embedding_prompt", "False"], "adapter"),
        (["-adapter", "False", "-embedding_prompt", "False"], "finetune"),
        (["-method", "lora"], "lora"),
    ],
)
def test_the_authors_switches_and_method_say_the_same(flags, method):
    args = arguments_of("ast_esc50")(["-name", "x", *flags])
    values = method_values(args)
    assert values["method"] == args.method == method
    assert (values["settings"]["num_prompts"], values["settings"]["bottleneck"]) == (4, 32)
    assert args.lr == (1e-5 if method == "finetune" else 1e-3)
    assert arguments_of("ast_esc50")(["-name", "x", *flags, "-lr", "0.5"]).lr == 0.5


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-method", "lora", "-adapter", "False"], "-adapter False goes with -method ipet"),
        (["-method", "linear", "-budget", "300k"], "-method linear has no size"),
        (["-budget", "many"], "'many' is no number of parameters such as 300k"),
        (
            ["-adapter_residual", "True", "-adapter_position", "houlsby"],
            "goes with -adapter_position parallel",
        ),
        (
            ["-method", "prompt", "-adapter_hidden_dim", "8"],
            "-adapter_hidden_dim is for -method ipet or adapter",
        ),
        (["-border", "3", "-method", "ipet"], "-border is for -method input_prompt, not for ipet"),
        (["-method", "lora", "-budget", "9k", "-lora_rank", "2"], "the budget chooses the size"),
        (["-seed", "1", "2", "1"], "-seed 1 2 1: each seed once"),
        (["-method", "loar"], "argument -method: invalid choice: 'loar'"),
        (["-variable_length", "-nb_seg", "5"], "not in -nb_seg 5 segments of one; give -nb_seg 1"),
        (["-variable_length", "-patchout", "0.5"], "-patchout 0.5 is for one; leave one of the two out"),
        (["-variable_length", "-method", "input_prompt"], "the border of -method input_prompt has one"),
    ],
)
def test_what_does_not_go_together_is_refused(capsys, flags, said):
    assert said in refusal(capsys, arguments_of("ast_esc50"), *flags)


def test_runs_of_different_experiments_do_not_share_a_folder():
    for name in ("ast_esc50", "w2v_voxceleb"):
        assert arguments_of(name)(["-name", "x"]).tags == name
        assert arguments_of(name)(["-name", "x", "-path_list", "/data/drums"]).tags == name


def test_a_budget_is_a_number_of_parameters():
    get_args = arguments_of("ast_esc50")
    for text, value in (("300k", 300_000), ("1.5M", 1_500_000), ("250000", 250_000)):
        assert get_args(["-name", "x", "-budget", text]).budget == value


def test_protocols_are_for_folds_and_nested_needs_three(capsys):
    get_args = arguments_of("ast_esc50")
    assert get_args(["-name", "x"]).protocol == ()  # the usual one, or that of the run that goes on
    assert get_args(["-name", "x", "-protocol", "nested", "last"]).protocol == ("nested", "last")
    assert "at least 3 folds" in refusal(capsys, get_args, "-fold", "2", "-protocol", "nested")
    for name in ("ast_fsd50k", "ast_voxceleb"):
        assert "only experiments with folds" in refusal(capsys, arguments_of(name), "-protocol", "last")


def test_the_parsed_values_are_plain():
    args = arguments_of("ast_gtzan")(["-name", "x", "-size", "tiny", "-pretrained", "random"])
    values = ast_values(args)
    assert values["front_end"]["num_segments"] == 10 and values["front_end"]["whole_periods"] is False
    assert values["backbone"] == {
        "num_frames": 400,
        "num_mels": 128,
        "stride": (10, 10),
        "size": "tiny",
        "pretrained": "random",
        "patchout": 0.0,
    }
    args = arguments_of("w2v_speechcommands")(["-name", "x", "-size", "small", "-model_type", "hubert"])
    assert wav2vec2_values(args)["backbone"] == {
        "size": "small",
        "pretrained": "facebook/hubert-base-ls960",
        "num_frames": 128,
        "model_type": "hubert",
    }


@pytest.mark.parametrize("flag", ["-lr", "-gamma", "-weight_decay", "-adapter_scalar"])
@pytest.mark.parametrize("value", ["inf", "nan", "1e999"])
def test_numbers_are_finite(capsys, get_args, flag, value):
    line = refusal(capsys, get_args, flag, value)
    assert line.startswith(f"error: argument {flag}") and f"{value!r} is not a number" in line


def test_a_frame_is_at_least_a_millisecond(capsys):
    assert "'0.01' is not a number at least 1" in refusal(
        capsys, arguments_of("ast_esc50"), "-winlen", "0.01"
    )


def test_folds_are_asked_for_where_there_are_folds(capsys):
    assert "has folds; at least 1 is needed" in refusal(capsys, arguments_of("ast_esc50"), "-fold", "0")
    assert "has no folds" in refusal(capsys, arguments_of("w2v_speechcommands"), "-fold", "5")
