"""Several tasks in one batch are each task by itself."""

import pytest
import torch
from torch import nn

from ipet.backbones.audio_spectrogram_transformer import build_ast
from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.checkpoint import trainable_state
from ipet.features import LogMel, Waveform
from ipet.heads import Classifier, LinearHead, SpeakerHead
from ipet.methods import apply_method
from ipet.multitask import MultiTask
from ipet.tuning import trainable_parameters

METHODS = {
    "ipet": {"num_prompts": 3, "bottleneck": 4},
    "prompt": {"num_prompts": 2},
    "prefix": {"num_prefixes": 2},
    "adapter": {"bottleneck": 4, "position": "houlsby"},
    "linear": {},
}
CLASSES = {"sounds": 5, "words": 3, "genres": 2}
CLIPS = ["words", "sounds", "words", "genres"]


def model_of(kind, method, num_classes, num_segments=1, head=LinearHead):
    """A task's model, of the same backbone every time, with trained values drawn for its classes."""
    torch.manual_seed(0)
    if kind == "ast":
        front_end, backbone = (
            LogMel(128, 32, -4.0, 3.0, num_segments=num_segments),
            build_ast(32, size="tiny"),
        )
    else:
        front_end, backbone = Waveform(40, num_segments), build_wav2vec2("tiny", model_type=kind)
    model = Classifier(
        front_end, apply_method(backbone, method, **METHODS[method]), head(backbone.width, num_classes)
    )
    torch.manual_seed(num_classes)
    for parameter in trainable_parameters(model).values():
        nn.init.normal_(parameter, std=0.3)
    return model.double().eval()


@pytest.mark.parametrize("num_segments", [1, 3])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["ast", "wav2vec2", "wavlm"])
@torch.no_grad()
def test_each_clip_gets_its_own_tasks_answer(kind, method, num_segments):
    models = {name: model_of(kind, method, n, num_segments) for name, n in CLASSES.items()}
    waveform = 0.1 * torch.randn(len(CLIPS), 9_000, dtype=torch.float64)
    lengths = torch.tensor([9_000, 8_000, 7_000, 9_000])
    alone = [
        models[task](waveform, lengths).unflatten(0, (len(CLIPS), -1))[i] for i, task in enumerate(CLIPS)
    ]
    states = {name: trainable_state(model) for name, model in models.items()}
    tasks = MultiTask(model_of(kind, method, 7, num_segments), states)
    answers = tasks(waveform, lengths, CLIPS)
    assert [tuple(answer.shape) for answer in answers] == [(num_segments, CLASSES[task]) for task in CLIPS]
    torch.testing.assert_close(answers, alone, rtol=1e-6, atol=1e-8)  # log-mels are float32
    one = tasks(waveform[:1], lengths[:1], CLIPS[:1])  # another batch, other tasks
    torch.testing.assert_close(one[0], alone[0], rtol=1e-6, atol=1e-8)


def test_the_backbone_is_held_once():
    states = {str(n): trainable_state(model_of("ast", "ipet", 3)) for n in range(8)}
    model = model_of("ast", "ipet", 3)
    size = sum(t.nbytes for t in model.state_dict().values())
    task = sum(t.double().nbytes for t in states["0"].values())
    tasks = MultiTask(model, states)
    held = sum(t.nbytes for t in tasks.state_dict().values())
    assert held < size + 9 * 2 * task < 2 * size  # keys and values are twice a prompt
    assert not any(p.requires_grad for p in tasks.parameters())


@torch.no_grad()
def test_a_task_may_verify_speakers():
    models = {name: model_of("wav2vec2", "ipet", n, head=SpeakerHead) for name, n in CLASSES.items()}
    tasks = MultiTask(
        model_of("wav2vec2", "ipet", 7, head=SpeakerHead), {n: trainable_state(m) for n, m in models.items()}
    )
    waveform, lengths = 0.1 * torch.randn(1, 6_400, dtype=torch.float64), torch.tensor([6_400])
    torch.testing.assert_close(tasks(waveform, lengths, ["words"])[0], models["words"](waveform, lengths))


def test_what_does_not_fit_is_refused_and_named():
    model, state = model_of("ast", "ipet", 3), trainable_state(model_of("ast", "ipet", 3))
    with pytest.raises(ValueError, match="no task is given"):
        MultiTask(model, {})
    with pytest.raises(ValueError, match=r"task 'a': 1 \(prompts.0\) missing"):
        MultiTask(model, {"a": {k: v for k, v in state.items() if k != "prompts.0"}})
    with pytest.raises(ValueError, match=r"the head of task 'a': 1 \(norm.bias\) missing"):
        MultiTask(model, {"a": {k: v for k, v in state.items() if k != "head.norm.bias"}})
    with pytest.raises(
        ValueError, match=r"task 'a': prompts.1 has shape \[1, 9, 48\], this model's is \[1, 3, 48\]"
    ):
        MultiTask(model, {"a": state | {"prompts.1": torch.zeros(1, 9, 48)}})
    tasks = MultiTask(model, {"a": state})
    waveform, lengths = torch.zeros(2, 6_400, dtype=torch.float64), torch.tensor([6_400, 6_400])
    with pytest.raises(
        ValueError, match=r"2 tasks for 2 clips, unknown among them: \['b'\]; expected one of a"
    ):
        tasks(waveform, lengths, ["a", "b"])
    with pytest.raises(ValueError, match="1 tasks for 2 clips"):
        tasks(waveform, lengths, ["a"])


def test_a_method_that_changes_the_backbone_is_refused():
    torch.manual_seed(0)
    backbone = apply_method(build_ast(32, size="tiny"), "lora", rank=2)
    model = Classifier(LogMel(128, 32, -4.0, 3.0), backbone, LinearHead(backbone.width, 2))
    with pytest.raises(
        ValueError, match=r"the model trains 4 \(lora\.0\.qkv\.down\.weight, .*inside the backbone"
    ):
        MultiTask(model, {"a": trainable_state(model)})
