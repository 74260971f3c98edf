"""The rules that keep the repository readable. LEVELS is the architecture: imports go down only."""

import ast
import re

import pytest

from helpers import ALL_EXPERIMENTS as EXPERIMENTS
from helpers import ROOT

LEVELS = [
    {"openmp", "output_pipe"},
    {
        *("files", "limits", "printable", "kinds", "serve_gate", "input_report", "list_files"),
        *("noise_releases", "label_names", "clip_entries"),
    },
    {"parsing", "recording_search", "label_findings", "audio_formats", "mpeg"},
    {"releases", "audio_structure", "levels"},
    {"published_lists", "audio_chunks", "audio_streams"},
    {"starting_lists", "reproduce_data", "audio_containers"},
    {"audio_decoders"},
    {
        *(
            "audio",
            "metrics",
            "verification_metrics",
            "mistakes",
            "calibration",
            "devices",
            "distributed",
            "dropout",
            "heads",
        ),
        *("interruption", "kept", "loopback", "precision", "schedule"),
        *("placement", "recomputation", "running_statistics", "saving_guard"),
    },
    {
        "attention",
        "description",
        "names",
        "experiment",
        "intervals",
        "sharded",
        "ast_weights",
        "segments",
    },
    {"tuning"},
    {
        *("features", "lists", "augment", "checkpoint", "memory", "methods", "recipe", "scoring"),
        *("layer_kinds", "insight", "folds", "shared_memory"),
    },
    {"loggers", "results", "original_metrics", "ending", "extension", "trials", "list_digests"},
    {
        *("datasets", "backbones", "multitask", "logbook", "cache", "corruption"),
        *("moments", "fingerprint", "summary", "epoch_losses", "plots", "saved", "excerpts", "page"),
    },
    {
        *("speaker_split", "models", "updates", "inference", "library", "report"),
        *("examination", "recording_reader", "proposals", "inspection_table", "showing", "warm_start"),
    },
    {"splits", "passport", "differences", "prediction_table"},
    {"trainer", "commands", "compare", "diagnosis", "share", "export", "beginning", "study"},
    {"classification", "doctor", "rerun", "run_page", "hearing", "sweep_trial", "patch"},
    {"verification", "inspection", "pages", "serve_page", "sweep", "reproduce_plan"},
    {"reproduce_table"},
    {"reproduce"},
    {"launch", "serve"},
    {"commands_of_runs", "commands_of_adapters"},  # flags; what they ask for is imported when it is needed
    {"__main__"},
]
# Flags: they import modules of ipet without torch, and only commands import them.
BESIDE = {"arguments", "argument_checks", "model_arguments", "original_arguments", "reproduce_arguments"}
LIGHT = {
    "openmp",
    "output_pipe",
    "clip_entries",
    "limits",
    "kinds",
    "parsing",
    "input_report",
    "list_files",
    "published_lists",
    "releases",
}
LIBRARIES = {
    "timm": {"backbones", "methods", "recomputation"},
    "transformers": {"tuning", "backbones", "methods"},
    "peft": {"methods"},
}
HANDLES_ARGS = {"launch", "beginning", "parsing", *BESIDE}

SOURCES = sorted((ROOT / "ipet").rglob("*.py"))


def module_of(path):
    """``ipet/backbones/wav2vec2.py`` -> ``backbones``."""
    return path.relative_to(ROOT / "ipet").with_suffix("").parts[0]


def imports_of(path):
    """Every imported module's full name, wherever in the file the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names if node.module == "ipet")


def level_of(module):
    [level] = [i for i, modules in enumerate(LEVELS) if module in modules]
    return level


def test_every_module_has_its_level():
    named = set().union(*LEVELS) | BESIDE | {"__init__"}
    assert {module_of(path) for path in SOURCES} == named


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    module = module_of(path)
    if module == "__init__":
        return  # hands on what it is asked for
    for name in imports_of(path):
        if not name.startswith("ipet."):
            continue
        imported = name.split(".")[1]
        if module in BESIDE:
            assert imported in LIGHT | BESIDE, f"{path} imports {name}"
            continue
        if imported in BESIDE:
            assert module in {"__main__", "commands_of_runs", "commands_of_adapters", "beginning"}, (
                f"{path} imports {name}"
            )
            continue
        below = level_of(imported) < level_of(module)
        assert below or imported == module, f"{path} imports {name}, which is not below it"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_of_models_and_arguments_stay_where_they_belong(path):
    module = module_of(path)
    for name in imports_of(path):
        assert module in LIBRARIES.get(name.split(".")[0], {module}), f"{path} imports {name}"
        assert name.split(".")[0] not in {*EXPERIMENTS, "dataset", "model", "trainer"}, (
            f"{path} imports {name}"
        )
    if module not in HANDLES_ARGS:
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        # A constructor's *args is passed on unseen.
        starred = re.findall(r"\*args\b", path.read_text())
        assert "args" not in names or len(starred) == len(re.findall(r"\bargs\b", path.read_text())), path


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_holds_only_what_differs(name):
    files = {path.name: path.read_text() for path in (ROOT / name).glob("*.py")}
    assert set(files) == {"main.py", "arguments.py", "model.py", "dataset.py", "trainer.py"}
    assert files["main.py"] == (ROOT / "ast_esc50" / "main.py").read_text()
    assert sum(text.count("\n") for text in files.values()) <= 150
    for text in files.values():
        imported = re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE)
        assert not set(imported) & set(EXPERIMENTS)


# Clones ---------------------------------------------------------------------------------------------

CLONE = 6  # consecutive lines of code, imports and comments left out
CODE = [
    p
    for folder in ("ipet", "data", "pretraining", "benchmarks", *EXPERIMENTS)
    for p in (ROOT / folder).rglob("*.py")
]


def blocks_of(path):
    """Every run of ``CLONE`` lines that say something, with the number of its first line."""
    text = path.read_text()
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Import, ast.ImportFrom))]
    imports = {i for node in nodes for i in range(node.lineno, node.end_lineno + 1)}
    lines = [(i, line.strip()) for i, line in enumerate(text.splitlines(), start=1) if i not in imports]
    said = [(i, line) for i, line in lines if not line.startswith("#") and re.search(r"\w", line)]
    for start in range(len(said) - CLONE + 1):
        yield tuple(line for _, line in said[start : start + CLONE]), said[start][0]


def test_no_block_of_six_lines_is_written_twice():
    seen, clones = {}, []
    for path in CODE:
        if path.name != "main.py":
            for block, line in blocks_of(path):
                place = f"{path.relative_to(ROOT)}:{line}"
                if block in seen:
                    clones.append(f"{place} repeats {seen[block]}")
                seen.setdefault(block, place)
    assert not clones, "\n".join(clones)
