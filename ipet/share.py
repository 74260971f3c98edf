"""A run's adapter on the Hugging Face hub: its model card, and how it gets there.

``ipet.load("owner/name")`` fetches what was pushed.
"""

import tempfile
from pathlib import Path

from ipet.audio import SAMPLE_RATE
from ipet.checkpoint import read_json, write_atomically
from ipet.description import CONFIG, WEIGHTS
from ipet.saved import files_of, read_description, read_saved, save_adapter
from ipet.summary import SHARES, in_percent

CARD = "README.md"
FILES = (WEIGHTS, CONFIG, CARD)  # nothing else leaves the machine


def card(description: dict, result: dict | None, hub_id: str) -> str:
    """A model card in Markdown, with the front matter that the hub reads.

    Args:
        description: what ``adapter_config.json`` says.
        result: what the cell's ``result.json`` says, where it is known.
        hub_id: ``owner/name``.
    """
    backbone, tuning = description["backbone"], description["tuning"]
    several = not any(name.endswith("_accuracy") for name in description["metrics"])
    names = [label["name"] for label in description["labels"]]
    shown = ", ".join(names[:40]) + (f" and {len(names) - 40} others" if len(names) > 40 else "")
    num_frames = description["front_end"].get("num_frames")  # of 10 ms
    seconds = num_frames / 100 if num_frames else description["cut"]["num_samples"] / SAMPLE_RATE
    settings = ", ".join(f"{key} {value}" for key, value in tuning.items() if key != "method")
    published = str(backbone["pretrained"]).count("/") == 1 and not Path(backbone["pretrained"]).exists()
    front = [
        "library_name: ipet",
        *([f"base_model: {str(backbone['pretrained']).partition('@')[0]}"] if published else []),
        "tags: [audio-classification, parameter-efficient-tuning, ipet]",
    ]
    rows = [
        ("task", f"{len(names)} classes, {'several' if several else 'one'} a clip: {shown}"),
        ("trained by", f"`{description['experiment']}` of IPET"),
        ("backbone", f"`{backbone['pretrained']}`, frozen; SHA-256 `{backbone['sha256'][:16]}...`"),
        ("tuned by", f"{tuning['method']}{f' ({settings})' if settings else ''}"),
        ("hears", f"16 kHz mono, {seconds:g} s at once"),
        ("epoch", f"{description['metrics']['epoch']}: {description['chosen']}"),
    ]
    if result:
        trained = result["trainable_parameters"]
        share = in_percent(trained / result["all_parameters"])
        rows.append(("trained parameters", f"{trained:,}, {share} % of all"))
    lines = ["---", *front, "---", "", f"# {hub_id.rpartition('/')[2]}", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value.replace('|', '/')} |" for name, value in rows]
    lines += ["", "## What it was measured to do", "", "| list and metric | value |", "|---|---:|"]
    lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in measured(description, result)]
    lines += ["", *notes(description, result)]
    use = [f'model = ipet.load("{hub_id}")', 'model.predict("recording.wav")']
    lines += ["", "## Use", "", "```python", "import ipet", *use, "```", ""]
    return "\n".join(lines)


def measured(description: dict, result: dict | None) -> list[tuple[str, str]]:
    """The names and the shown values of an adapter's metrics, those of the test list first."""
    chosen = "best" if description["chosen"] != "the last epoch" else "last"
    tested = (result or {}).get(f"test_at_{chosen}_epoch", {})
    metrics = {k: v for k, v in description["metrics"].items() if k.partition("_")[0] in ("eval", "valid")}
    return [
        (name, f"{in_percent(value)} %" if name.partition("_")[2].startswith(SHARES) else f"{value:.4f}")
        for name, value in {**tested, **metrics}.items()
    ]


def notes(description: dict, result: dict | None) -> list[str]:
    """What a reader of the numbers must know: how the epoch was chosen, the interval, the calibration."""
    said = []
    if "optimistic" in description["chosen"]:
        said.append("The epoch was chosen on the clips that it is evaluated on: the numbers are optimistic.")
    for bounds in (result or {}).get("interval", {}).values():
        if bounds:
            low, high = map(in_percent, bounds)
            said.append(f"95 % interval of the {result['metric']}: {low} - {high} %.")
    if (result or {}).get("without_hearing") is not None:
        always = in_percent(result["without_hearing"])
        said.append(f"Always answering the most frequent training class: {always} %.")
    if "temperature" in description.get("calibration", {}):
        said.append("Probabilities are calibrated on the validation list.")
    return [*said, "Recordings of another kind than those it was trained on were not tried."]


def write_card(folder: str | Path, hub_id: str) -> Path:
    """Write ``README.md`` beside a saved adapter, unless somebody has; returns its path.

    Raises:
        FileNotFoundError: ``folder`` holds no saved adapter.
        ValueError: it is not a run's.
    """
    folder = Path(folder)
    path, (source, _) = folder / CARD, files_of(folder)
    if not path.is_file():
        found = folder.parent / "result.json"
        try:
            text = card(read_description(source), read_json(found) if found.is_file() else None, hub_id)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{source}: does not describe an adapter ({type(error).__name__}: {error})"
            ) from None
        write_atomically(path, text.encode())
    return path


def push(folder: str | Path, hub_id: str, private: bool = True) -> str:
    """Upload an adapter, its description and its card; returns the revision's address.

    An adapter of schema 1 is uploaded as one of this schema; its folder stays as it is.

    Args:
        folder: ``last/`` or ``best/`` of a run, or a copy of it.
        hub_id: ``owner/name``; made if it is not there.
        private: of a repository that is made.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: it is not a run's adapter, or damaged.
        ConnectionError: the hub refused, or cannot be reached, with its reason.
    """
    path = write_card(folder, hub_id)
    saved = read_saved(folder)
    from huggingface_hub import HfApi  # slow to import, and seldom needed

    api = HfApi()
    with tempfile.TemporaryDirectory() as rewritten:
        sent = path.parent
        if saved.config.name != CONFIG:
            sent = Path(rewritten)
            save_adapter(sent, saved.tensors, saved.description)
            write_atomically(sent / CARD, path.read_bytes())
        try:
            api.create_repo(hub_id, private=private, exist_ok=True)
            done = api.upload_folder(repo_id=hub_id, folder_path=sent, allow_patterns=list(FILES))
        except Exception as error:  # the hub's client raises a dozen kinds, of four libraries
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ConnectionError(f"{hub_id}: the Hugging Face hub did not take it: {reason}") from error
    return str(done.commit_url)
