"""``reproduce``: which runs are planned, how they are run and continued, and what the tables say (D9).

Most tests run a toy experiment, whose main.py trains nothing and writes a run's files.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from ipet import commands_of_runs
from ipet.__main__ import main
from ipet.commands_of_runs import experiments
from ipet.parsing import REPOSITORY
from ipet.reproduce_arguments import weights_by_backbone, weights_of
from ipet.reproduce_data import find_releases
from ipet.reproduce_plan import GRIDS, Request, plan
from ipet.reproduce_table import original_values, values_of

import releases
from helpers import EXPERIMENTS, ROOT, load_script, long, result, write_lists

ARGUMENTS = '''"""A toy."""

from ipet.arguments import ast_arguments


def get_args(argv=None):
    return ast_arguments(
        argv, path_list=LISTS, fold=FOLDS, frame_length=8, classification_loss="cce",
        embedding_prompt_num=2, adapter_hidden_dim=4, epoch=3, batch_size=4, lr=0.5, lr_finetune=0.25,
    )
'''
# The second of three epochs is the best, and better the more prompts there are.
MAIN = """import json, os, sys, time
from arguments import get_args

flags = get_args()
folder = flags.path_run / flags.project / flags.tags / flags.name
with open(flags.path_list / "starts.txt", "a") as file:
    file.write(f"{flags.name} {' '.join(map(str, flags.rand_seed))}\\n")
if flags.method == os.environ.get("TOY_FAILS") and os.environ.get("TOY_FAILS_AT") is None:
    sys.exit("error: the loss is nan")
folder.mkdir(parents=True, exist_ok=True)
values = {name: value for name, value in vars(flags).items() if isinstance(value, (int, float, str))}
values |= {"precision": "fp32", "path_list": str(flags.path_list)}
values |= {name: list(getattr(flags, name)) for name in ("rand_seed", "protocol", "logger")}
(folder / "arguments.json").write_text(json.dumps(values | {"experiment": "ast_esc50"}))
for seed in flags.rand_seed:
    for fold in range(1, flags.fold + 1):
        time.sleep(float(os.environ.get("TOY_SECONDS", 0)))
        if os.environ.get("TOY_FAILS_AT") == f"{seed}/{fold}" and flags.method == os.environ["TOY_FAILS"]:
            sys.exit("error: the loss is nan")
        cell = folder / f"seed_{seed}/fold_{fold}"
        cell.mkdir(parents=True, exist_ok=True)
        curve = [0.1, 0.5 + 0.01 * flags.embedding_prompt_num + 0.1 * seed, 0.4 + 0.1 * seed]
        history = [{"epoch": i, "eval_accuracy": v} for i, v in enumerate(curve, 1)]
        result = {"metric": "accuracy", "watched": "eval", "best_epoch": 2, "history": history}
        result |= {"higher_is_better": True, "seconds": 1.0, "peak_memory_bytes": 1}
        result |= {"trainable_parameters": 1234, "all_parameters": 5000, "tuning": {"method": flags.method}}
        (cell / "result.json").write_text(json.dumps(result))
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """An experiment named ast_esc50 with two folds, the only one there is; the folder around all."""
    folder, lists = tmp_path / "repository/ast_esc50", tmp_path / "lists/esc50"
    folder.mkdir(parents=True)
    lists.mkdir(parents=True)
    (tmp_path / "ESC-50-master/meta").mkdir(parents=True)
    (tmp_path / "ESC-50-master/meta/esc50.csv").touch()
    (lists / "labels.csv").touch()
    text = ARGUMENTS.replace("LISTS", repr(str(lists))).replace("FOLDS", "2")
    (folder / "arguments.py").write_text(text)
    (folder / "main.py").write_text(MAIN)
    monkeypatch.setattr(commands_of_runs, "experiments", lambda: {"ast_esc50": folder})
    return tmp_path


def flags_of(toy, *more):
    """The command line on the toy."""
    return ["reproduce", "-data", str(toy), "-path_run", str(toy / "runs"), *map(str, more)]


def starts(toy):
    path = toy / "lists/esc50/starts.txt"
    return path.read_text().splitlines() if path.exists() else []


def rows_of(toy):
    return json.loads((toy / "runs/reproduce/reproduce.json").read_text())["runs"]


def request(tmp_path, names, methods=("ipet",), grids=None, data=None, further=(), **more):
    """A request of the repository's experiments."""
    known = experiments()
    values = {"seeds": (1, 2), "path_list": None, "path_run": tmp_path / "runs", "pretrained": {}, **more}
    values |= {"grids": grids or {}, "data": data or {}, "further": further}
    return Request([known[name] for name in names], methods, **values)


# The table ------------------------------------------------------------------------------------------


def test_both_protocols_stand_side_by_side_in_every_format(toy, capsys):
    # D9
    assert main(flags_of(toy, "-method", "ipet", "linear", "-seed", 1, 2, "-format", "text,latex")) == 0
    out = capsys.readouterr().out
    assert starts(toy) == ["ipet 1 2", "linear 1 2"]
    by_method = {row["method"]: row for row in rows_of(toy)}
    # of seeds 1 and 2: the second epoch 0.62 and 0.72, the last one 0.5 and 0.6
    assert by_method["ipet"]["original"] == pytest.approx(0.67)
    assert by_method["ipet"]["ours"] == pytest.approx(0.55)
    assert by_method["ipet"]["ours_protocol"] == "last epoch" and by_method["ipet"]["cells"] == 4
    assert re.search(r"ipet +67\.00 ± 7\.07 \(2\) +55\.00 ± 7\.07 \(2\)", out) and "\\toprule" in out
    folder = toy / "runs/reproduce"
    assert "| ipet | 67.00 ± 7.07 (2) | 55.00 ± 7.07 (2) |" in (folder / "table.md").read_text()
    assert r"ipet & 67.00 $\pm$ 7.07 (2) & 55.00 $\pm$ 7.07 (2) \\" in (folder / "table.tex").read_text()
    page = (folder / "index.html").read_text()
    assert "67.00" in page and "the original&#39;s protocol (optimistic)" in page
    header, *lines = (folder / "table.csv").read_text().splitlines()
    assert header.startswith("experiment,data,method") and len(lines) == 2


def test_the_same_command_reads_what_is_finished_and_adds_seeds(toy, capsys):
    assert main(flags_of(toy, "-method", "ipet", "-seed", 1)) == 0
    assert main(flags_of(toy, "-method", "ipet", "-seed", 1)) == 0
    assert starts(toy) == ["ipet 1"]
    assert main(flags_of(toy, "-method", "ipet", "-seed", 1, 3)) == 0
    assert starts(toy) == ["ipet 1", "ipet 1 3"] and rows_of(toy)[0]["seeds"] == 2
    assert main(flags_of(toy, "-method", "ipet", "-seed", 3)) == 0  # of the two seeds that are there
    assert len(starts(toy)) == 2 and rows_of(toy)[0]["ours"] == pytest.approx(0.7)
    capsys.readouterr()
    assert main(flags_of(toy, "-method", "ipet", "-seed", 3, "-plan", "--", "-lr", 0.1)) == 0
    assert "ast_esc50 ipet: open" in capsys.readouterr().out  # other settings are not read as these


def test_a_failed_run_is_an_empty_cell_with_its_reason_and_the_others_go_on(toy, capsys, monkeypatch):
    monkeypatch.setenv("TOY_FAILS", "linear")
    assert main(flags_of(toy, "-method", "linear", "ipet")) == 1
    out = capsys.readouterr().out
    assert "ast_esc50: error: the loss is nan (exit status 1; more in " in out
    assert re.search(r"linear +failed +failed\nipet ", out)
    monkeypatch.delenv("TOY_FAILS")
    assert main(flags_of(toy, "-method", "linear", "ipet")) == 0
    assert [line.split()[0] for line in starts(toy)] == ["linear", "ipet", "linear"]


def test_a_run_that_fails_half_way_keeps_its_finished_seeds_and_says_that_others_are_missing(
    toy, capsys, monkeypatch
):
    monkeypatch.setenv("TOY_FAILS", "ipet")
    monkeypatch.setenv("TOY_FAILS_AT", "2/2")
    assert main(flags_of(toy, "-method", "ipet", "-seed", 1, 2)) == 1
    [row] = rows_of(toy)
    assert (row["state"], row["seeds"], row["planned_seeds"], row["cells"]) == ("failed", 1, 2, 3)
    out = capsys.readouterr().out
    assert "(1)*" in out and "error: the loss is nan" in out and "1 of 2" in out


def test_results_of_other_settings_are_never_shown(toy, capsys, monkeypatch):
    assert main(flags_of(toy, "-method", "ipet", "-seed", 1)) == 0
    monkeypatch.setenv("TOY_FAILS", "ipet")
    assert main(flags_of(toy, "-method", "ipet", "-seed", 1, "--", "-lr", 0.1)) == 1
    [row] = rows_of(toy)
    assert row["state"] == "failed" and row["original"] is row["ours"] is None and row["cells"] == 0


def test_a_damaged_result_is_a_failed_run_of_the_table_and_the_others_stay(toy, capsys):
    flags = flags_of(toy, "-method", "ipet", "linear", "-seed", 1)
    assert main(flags) == 0
    (toy / "runs/reproduce/ast_esc50/ipet/seed_1/fold_2/result.json").write_text("{")
    assert main(flags) == 1
    by_method = {row["method"]: row for row in rows_of(toy)}
    assert by_method["ipet"]["state"] == "failed" and "fold_2/result.json" in by_method["ipet"]["reason"]
    assert by_method["linear"]["ours"] == pytest.approx(0.5)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_an_interrupted_command_leaves_its_tables_and_goes_on(toy, number):
    script = (
        "import sys\nfrom pathlib import Path\nfrom ipet import commands_of_runs\n"
        "from ipet.__main__ import main\n"
        "commands_of_runs.experiments = lambda: {'ast_esc50': Path(sys.argv[1])}\n"
        "sys.exit(main(sys.argv[2:]))"
    )
    command = [sys.executable, "-c", script, str(toy / "repository/ast_esc50")]
    process = subprocess.Popen(
        [*command, *flags_of(toy, "-method", "ipet", "linear")],
        cwd=REPOSITORY,
        env={**os.environ, "TOY_SECONDS": "0.7"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    waited = time.monotonic() + 60
    while not (toy / "runs/reproduce/ast_esc50/linear/seed_1234/fold_1/result.json").exists():
        assert time.monotonic() < waited and process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err == "error: interrupted; repeat the command to continue\n"
    assert [row["state"] for row in rows_of(toy)] == ["finished", "stopped"]
    assert "stopped: not every training is finished; the same command continues it (linear)" in out
    assert main(flags_of(toy, "-method", "ipet", "linear")) == 0
    assert [line.split()[0] for line in starts(toy)] == ["ipet", "linear", "linear"]


def test_a_grid_is_a_table_and_a_figure(toy, capsys):
    assert main(flags_of(toy, "-grid", "prompts=1,4", "lr=x0.5,x2", "-seed", 1)) == 0
    by_value = {(row["grid"], row["value"]): row for row in rows_of(toy)}
    assert by_value["prompts", "4"]["original"] == pytest.approx(0.5 + 0.04 + 0.1)
    assert [line.split()[0] for line in starts(toy)] == [
        *("ipet_prompts_1", "ipet_prompts_4", "ipet_lr_x0.5", "ipet_lr_x2")
    ]
    arguments = toy / "runs/reproduce/ast_esc50/ipet_lr_x2/arguments.json"
    assert json.loads(arguments.read_text())["lr"] == 1.0
    out = capsys.readouterr().out
    assert (
        "Grid: prompts (original / ours)" in out
        and "ast_esc50 ipet  61.00 (1) / 50.00 (1)  64.00 (1) / 50.00 (1)" in out
    )
    assert (toy / "runs/reproduce/grid_prompts_accuracy.png").is_file()
    assert (toy / "runs/reproduce/grid_lr_accuracy.png").is_file()


def test_the_originals_protocol_is_the_best_epoch_on_what_is_evaluated():
    assert original_values({"seed_1": result(0.3, 0.8, 0.6)}) == {"seed_1": 0.8}
    speakers = result(0.3, 0.1, 0.2, metric="EER", higher_is_better=False)
    assert original_values({"seed_1": speakers}) == {"seed_1": 0.1}
    tested = {f"test_at_{when}_epoch": {"test_accuracy": 0.5} for when in ("best", "last")}
    chosen = result(0.3, 0.8, watched="valid", **tested)
    assert original_values({"seed_1": chosen}) == {}  # no epoch looked at the test list
    assert values_of({"seed_1": chosen})["ours"] == 0.5
    for row, value in zip(chosen["history"], (0.6, 0.4)):
        row["original_acc"] = value
    assert original_values({"seed_1": chosen}) == {"seed_1": 0.6}


# The plan -------------------------------------------------------------------------------------------


def test_all_ten_experiments_are_planned_and_what_is_not_prepared_has_its_reason(tmp_path):
    # D9
    write_lists(tmp_path / "lists/esc50")
    write_lists(tmp_path / "lists/voxceleb")
    data = dict.fromkeys(("esc50", "gtzan", "voxceleb", "musan"), tmp_path)
    methods = ("finetune", "linear", "prompt", "adapter", "ipet", "lora")
    runs, _ = plan(request(tmp_path, EXPERIMENTS, methods, data=data, path_list=tmp_path / "lists"))
    assert len(runs) == 60 and not (tmp_path / "runs").exists()
    state = {run.experiment.name: (run.state, run.reason) for run in runs}
    assert [name for name, (found, _) in state.items() if found == "open"] == [
        *("ast_esc50", "ast_voxceleb", "w2v_esc50")
    ]
    assert state["ast_fsd50k"][1] == "FSD50K is not among -data; add -data fsd50k=DIR"
    assert f"data/prepare.py gtzan {tmp_path} -out {tmp_path}/lists/gtzan" in state["ast_gtzan"][1]
    assert "mixes in RIRS_NOISES: add -data rirs=DIR" in state["w2v_voxceleb"][1]


def test_flags_are_left_out_where_they_do_not_apply_and_refused_where_they_apply_nowhere(tmp_path):
    write_lists(tmp_path / "lists/esc50")
    data, lists = {"esc50": tmp_path}, tmp_path / "lists"
    further = ["-freqm", "8", "-embedding_prompt_num", "3", "-epoch", "1"]
    names, methods = ["ast_esc50", "w2v_esc50"], ("ipet", "linear")
    runs, notes = plan(request(tmp_path, names, methods, data=data, path_list=lists, further=further))
    assert all(run.state == "open" and run.settings["epoch"] == 1 for run in runs)
    applied = {(r.experiment.name, r.method): ("-freqm" in r.command, "3" in r.command) for r in runs}
    assert applied == {
        **{("ast_esc50", "ipet"): (True, True), ("ast_esc50", "linear"): (True, False)},
        **{("w2v_esc50", "ipet"): (False, True), ("w2v_esc50", "linear"): (False, False)},
    }
    assert len(notes) == 2 and "-freqm 8 does not apply to w2v_esc50 ipet, w2v_esc50 linear" in notes[0]

    def refused(*further, **more):
        with pytest.raises(ValueError) as caught:
            plan(request(tmp_path, names, data=data, path_list=lists, further=further, **more))
        return str(caught.value)

    assert "unknown argument '-frqm'" in refused("-frqm", "8")
    assert "-epoch" in refused("-epoch", "many")
    assert "-seed follows --, but reproduce gives it" in refused("-seed", "4")
    assert "-pretrained follows --" in refused("-pretrained", "random", pretrained={"ast": "random"})
    assert "'8' follows --, where flags of main.py are expected" in refused("8")


def test_each_backbone_has_its_weights_and_each_seed_its_place(tmp_path):
    write_lists(tmp_path / "lists/esc50")
    weights = {"ast": "random", "w2v": "somebody/model"}
    names = ["ast_esc50", "w2v_esc50"]
    asked = request(
        tmp_path, names, data={"esc50": tmp_path}, path_list=tmp_path / "lists", pretrained=weights
    )
    ast, w2v = plan(asked)[0]
    assert (ast.settings["pretrained"], w2v.settings["pretrained"]) == ("random", "somebody/model")
    assert ast.settings["rand_seed"] == (1, 2) and ast.settings["resume"] is True
    assert ast.folder == tmp_path / "runs/reproduce/ast_esc50/ipet"
    settings = ast.settings
    assert ast.folder == settings["path_run"] / settings["project"] / settings["tags"] / settings["name"]


def test_a_grid_that_is_named_twice_has_the_values_of_both(toy, capsys):
    assert main(flags_of(toy, "-grid", "prompts=1", "-grid", "prompts=4", "-plan", "-json", "-")) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [run["name"] for run in plan["runs"]] == ["ipet_prompts_1", "ipet_prompts_4"]
    assert plan["runs"][0]["state"] == "open" and "-embedding_prompt_num" in plan["runs"][0]["command"]
    assert starts(toy) == []


def test_weights_of_one_backbone_go_before_those_of_both_and_two_are_refused():
    words = [weights_of("random"), weights_of("W2V=some/model")]
    assert weights_by_backbone(words) == {"ast": "random", "w2v": "some/model"}
    assert weights_by_backbone(words[::-1]) == {"ast": "random", "w2v": "some/model"}
    with pytest.raises(ValueError, match="-pretrained names a and b for AST; expected one"):
        weights_by_backbone([weights_of("AST=a"), weights_of("AST=b")])


def test_a_grid_takes_multiples_of_each_experiments_own_value(tmp_path):
    write_lists(tmp_path / "lists/esc50")
    grids = {"lr": ("x0.5", "1e-4"), "adapter": GRIDS["adapter"][1][:1]}
    asked = request(
        tmp_path,
        ["ast_esc50", "w2v_esc50"],
        data={"esc50": tmp_path},
        path_list=tmp_path / "lists",
        grids=grids,
    )
    runs, _ = plan(asked)
    assert [run.settings["lr"] for run in runs] == [5e-4, 1e-4, 1e-3, 1.25e-3, 1e-4, 2.5e-3]
    assert [run.settings["adapter_hidden_dim"] for run in runs[2::3]] == [8, 8]


def test_releases_are_found_by_what_is_in_them(tmp_path):
    releases.make_esc50(tmp_path / "all/anything")
    (tmp_path / "all/music").mkdir()  # a folder of music is not MUSAN
    for name in ("FSD50K.dev_audio", "FSD50K.eval_audio"):
        (tmp_path / "all/b" / name).mkdir(parents=True)
    found = find_releases([str(tmp_path / "all"), f"speech_commands={tmp_path}"])
    assert found == {
        "esc50": tmp_path / "all/anything",
        "fsd50k": tmp_path / "all/b",
        "speechcommands": tmp_path,
    }
    assert find_releases([str(tmp_path / "all/anything")]) == {"esc50": tmp_path / "all/anything"}
    releases.make_esc50(tmp_path / "all/copy")
    with pytest.raises(
        ValueError, match=r"ESC-50 is there twice, .*all/anything and .*all/copy; name one as"
    ):
        find_releases([str(tmp_path / "all")])
    named = find_releases([f"esc50={tmp_path}/all/copy", str(tmp_path / "all")])
    assert named["esc50"] == tmp_path / "all/copy" and named["fsd50k"] == tmp_path / "all/b"
    with pytest.raises(ValueError, match="-data names two folders of esc50"):
        find_releases([f"esc50={tmp_path}/all/copy", f"esc50={tmp_path}/all/anything"])
    with pytest.raises(ValueError, match="unknown data set 'esc5'; did you mean 'esc50'"):
        find_releases([f"esc5={tmp_path}"])
    with pytest.raises(
        FileNotFoundError, match=r"-data gtzan=.*no folder .*nowhere; expected that of a release"
    ):
        find_releases([f"gtzan={tmp_path}/nowhere"])
    with pytest.raises(ValueError, match="neither it nor a folder in it is one of these releases: ESC-50, "):
        find_releases([str(tmp_path / "all/music")])


@pytest.mark.parametrize(
    "flags, said",
    [
        (["ast_esc5"], "ast_esc5: none of the ten experiments; did you mean 'ast_esc50'?"),
        (["-grid", "width=3"], "'width=3' is none of prompts, adapter, lr"),
        (["-grid", "lr=x0"], "'x0' of lr is neither a number above 0 nor x and one"),
        (["-pretrained", "HUBERT=a"], "'HUBERT=a' is no AST=WEIGHTS or W2V=WEIGHTS"),
        (["-method", "magic"], "magic"),
    ],
)
def test_what_cannot_be_planned_is_refused_in_one_line(capsys, flags, said):
    with pytest.raises(SystemExit):
        main(["reproduce", *flags])
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_without_any_data_the_table_is_empty_and_the_status_says_so(tmp_path, capsys):
    assert main(["reproduce", "ast_gtzan", "-path_run", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "GTZAN is not among -data; add -data gtzan=DIR" in out
    assert err == "error: no data set of these experiments is prepared, see above\n"


# Trainings ------------------------------------------------------------------------------------------

SHORT = ["-frame_length", 32, "-epoch", 1, "-size", "tiny", "-batch_size", 8, "-precision", "fp32"]
SHORT += ["-embedding_prompt_num", 2, "-adapter_hidden_dim", 4, "-logger=", "-num_workers", 0]


def generated(folder, *names):
    """Generated sets in the official layouts, and their lists."""
    synthesize, prepare = (load_script(ROOT / f"data/{n}.py", f"{n}_here") for n in ("synthesize", "prepare"))
    for name in names:
        key = {"speech_commands": "speechcommands", "voxceleb1": "voxceleb"}.get(name, name)
        assert synthesize.main([name, str(folder / name), "-size", "tiny"]) in (0, None)
        assert prepare.main([name, str(folder / name), "-out", str(folder / "lists" / key)]) == 0
    return folder


def test_a_generated_set_is_trained_on_and_tabulated(tmp_path, capsys):
    # D9; two processes that load torch and train
    folder = generated(tmp_path, "esc50")
    flags = ["reproduce", "ast_esc50", "-data", folder, "-path_list", folder / "lists", "-path_run", folder]
    flags += ["-method", "linear", "ipet", "-pretrained", "random"]
    flags += ["--", *SHORT, "-fold", 1, "-freqm", 8, "-timem", 8]
    assert main([*map(str, flags)]) == 0
    first = capsys.readouterr().out
    assert "finished" in first and (folder / "reproduce/ast_esc50/ipet/passport.json").is_file()
    assert main([*map(str, flags)]) == 0
    again = capsys.readouterr().out
    assert "output in" in first and "output in" not in again  # all of it is read
    assert again[again.index("\nAST\n") :] == first[first.index("\nAST\n") :]


@long
def test_all_ten_experiments_are_reproduced_on_generated_sets(tmp_path):
    names = ("esc50", "fsd50k", "gtzan", "speech_commands", "voxceleb1", "musan", "rirs")
    folder = generated(tmp_path, *names)
    data = [f"{name}={folder / name}" for name in names]
    flags = ["-data", *data, "-path_list", folder / "lists", "-path_run", folder, "-pretrained", "random"]
    assert main(["reproduce", *map(str, flags), "--", *map(str, SHORT), "-fold", "1"]) == 0
    rows = json.loads((folder / "reproduce/reproduce.json").read_text())["runs"]
    assert len(rows) == 50 and all(row["ours"] is not None for row in rows)
