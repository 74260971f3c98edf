"""python3 -m ipet export: a saved adapter and its backbone as one file, without this package.

    waveform      [B, N]  float32 samples at 16 kHz; N is in the description
    num_samples   [B]     int64, how many of them are the clip's (AST; the rest is zeros)
    probabilities [B, C]  what ``predict`` says of the same samples
    embedding     [B, E]  what the head was given, or a speaker's embedding

Prompts are folded in as keys and values: their projections are constants of the file.
"""

import copy
import io
from pathlib import Path

import torch
from torch import Tensor, nn

from ipet.audio import SAMPLE_RATE
from ipet.checkpoint import write_atomically, write_json
from ipet.features import Waveform
from ipet.heads import SpeakerHead
from ipet.inference import TunedModel
from ipet.tuning import prompts_computed

FORMATS = {"onnx": "model.onnx", "torch": "model.pt2"}
DESCRIPTION = "model.json"
TOLERANCE = 1e-4  # between the file's probabilities and the model's
OPSET = 20
OUTPUTS = ("probabilities", "embedding")


class Exported(nn.Module):
    """Samples of one segment to probabilities and an embedding; every clip is one segment of N samples.

    Args:
        model: what ``ipet.load`` returned.
    """

    def __init__(self, model: TunedModel):
        super().__init__()
        self.front_end = copy.deepcopy(model.of_windows)
        self.backbone, self.head = model.model.backbone, model.model.head
        self.temperature, self.several = model.temperature, model.several

    def forward(self, waveform: Tensor, num_samples: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """[B, N] samples, [B] true lengths -> [B, C] probabilities, [B, E]."""
        embedding = self.backbone(self.front_end(waveform, num_samples))
        logits = self.head(embedding) / self.temperature
        if isinstance(self.head, SpeakerHead):
            embedding = self.head.speaker_embedding(embedding)
        return logits.sigmoid() if self.several else logits.softmax(dim=-1), embedding


def export(model: TunedModel, folder: str | Path, formats: tuple[str, ...] = ("onnx",)) -> dict[str, float]:
    """Write ``model.onnx`` or ``model.pt2``, and ``model.json``, which says what goes in and comes out.

    Args:
        model: what ``ipet.load`` returned, in fp32.
        formats: of ``FORMATS``.

    Returns:
        Of each format the largest difference to the model's own answers on noise, in batches of 1 and 3.

    Raises:
        ValueError: a package is missing, a file answers otherwise than the model, or the model hears clips
            of variable length.
    """
    if model.of_windows.variable_length:
        raise ValueError(
            "the adapter was trained with -variable_length True, and the file's clips have one length; "
            "expected one that was trained without"
        )
    folder = Path(folder)
    for name in formats:
        check_packages(name)
    exported = Exported(model).eval()
    program = traced(model, exported)
    differences = {}
    for name in formats:
        write = write_onnx if name == "onnx" else write_torch
        differences[name] = write(program, folder / FORMATS[name], exported)
    write_json(folder / DESCRIPTION, describe(model, formats, differences))
    return differences


def check_packages(name: str) -> None:
    """Raise ValueError where a format needs a package that is not installed."""
    if name not in FORMATS:
        raise ValueError(f"the format is {name!r}; accepted: {', '.join(FORMATS)}")
    if name == "onnx":
        try:
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401
        except ModuleNotFoundError as error:
            raise ValueError(
                f"format 'onnx' needs the package {error.name}: "
                "python3 -m pip install onnx onnxscript onnxruntime"
            ) from None


def inputs(exported: Exported, num_clips: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Noise of different lengths, as the exported model takes it."""
    generator = torch.Generator().manual_seed(seed)
    size = exported.front_end.num_samples
    waveform = 0.1 * torch.randn(num_clips, size, generator=generator)
    if isinstance(exported.front_end, Waveform):
        return (waveform,)
    num_samples = torch.randint(size // 2, size + 1, (num_clips,), generator=generator)
    num_samples[0] = size
    return waveform * (torch.arange(size) < num_samples[:, None]), num_samples


def traced(model: TunedModel, exported: Exported) -> torch.export.ExportedProgram:
    """The graph, for any number of clips."""
    with torch.no_grad(), prompts_computed(model.model):
        example = tuple(x.to(model.device) for x in inputs(exported, 2))
        batch = torch.export.Dim("batch", min=1, max=4096)
        return torch.export.export(exported, example, dynamic_shapes=({0: batch},) * len(example))


def write_torch(program: torch.export.ExportedProgram, path: Path, exported: Exported) -> float:
    """Write ``torch.export``'s format, and compare; see ``export``."""
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    write_atomically(path, buffer.getbuffer())
    loaded = torch.export.load(path).module()
    return difference(lambda *x: loaded(*x), exported, path)


def write_onnx(program: torch.export.ExportedProgram, path: Path, exported: Exported) -> float:
    """Write ONNX, and compare ONNX Runtime's answers; see ``export``."""
    import onnxruntime

    names = ["waveform", "num_samples"][: len(inputs(exported, 1))]
    onnx_program = torch.onnx.export(
        program,
        dynamo=True,
        opset_version=OPSET,
        input_names=names,
        output_names=list(OUTPUTS),
        verbose=False,
    )
    write_atomically(path, onnx_program.model_proto.SerializeToString())
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def answer(*x: Tensor) -> list[Tensor]:
        """ONNX Runtime's outputs."""
        feed = {name: value.cpu().numpy() for name, value in zip(names, x)}
        return [torch.from_numpy(output) for output in session.run(list(OUTPUTS), feed)]

    return difference(answer, exported, path)


def difference(answer, exported: Exported, path: Path) -> float:
    """The largest difference between a file's probabilities and the model's.

    Raises:
        ValueError: it is above ``TOLERANCE``, or an embedding's is, in proportion to the largest value.
    """
    largest = 0.0
    for num_clips in (1, 3):
        device = next(exported.backbone.parameters()).device
        example = tuple(x.to(device) for x in inputs(exported, num_clips, seed=num_clips))
        with torch.no_grad():
            expected = [output.cpu() for output in exported(*example)]
            found = [output.cpu() for output in answer(*example)]
        for name, one, other in zip(OUTPUTS, expected, found):
            apart = float((one - other).abs().max() / one.abs().max().clamp(min=1))
            if not apart <= TOLERANCE:
                raise ValueError(
                    f"{path}: its {name} differ by {apart:.1e}; expected at most {TOLERANCE:.0e}"
                )
            largest = max(largest, apart) if name == "probabilities" else largest
    return largest


def describe(model: TunedModel, formats: tuple[str, ...], differences: dict[str, float]) -> dict:
    """What ``model.json`` says."""
    front_end = model.of_windows
    return {
        "inputs": {
            "waveform": ["B", front_end.num_samples],
            **({} if isinstance(front_end, Waveform) else {"num_samples": ["B"]}),
        },
        "outputs": list(OUTPUTS),
        "sample_rate": SAMPLE_RATE,
        "cut": model.window_cut.settings,
        "labels": list(model.labels),
        "several_labels_a_clip": model.several,
        "thresholds": [float(t) for t in model.thresholds],
        "files": {FORMATS[name]: {"largest_difference": differences[name]} for name in formats},
        "backbone_sha256": model.description["backbone"].get("sha256"),
    }
