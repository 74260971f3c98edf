"""Several tasks on one frozen backbone, also in one batch: each clip with its task's prompts, adapters, head.

    model = ...                                        # of any of the tasks, on the backbone they share
    tasks = MultiTask(model, {"sounds": read_tensors(...), "words": read_tensors(...)})
    logits = tasks(waveform, num_samples, ["words", "sounds", "words"])

The backbone is held once. A task adds its prompts' keys and values, computed once, its adapters and its head.
"""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ipet.checkpoint import load_exactly, load_trainable_state, name_some
from ipet.heads import Classifier, linear
from ipet.tuning import Adapter, trainable_parameters, tuned_layers

HEAD = "head."
INSERTED = ("prompts.", "prefixes.", "adapters.")


class Routing:
    """Which task each clip of the batch at hand is of."""

    def __init__(self):
        self.index = torch.empty(0, dtype=torch.long)  # [B]


class ClipsPrepended(nn.Module):
    """Every task's keys and values of prompts and prefixes in one layer; a batch gets its clips' own.

    Args:
        prepended: of each task, keys and values [1, H, n, D / H].
    """

    def __init__(self, prepended: Sequence[tuple[Tensor, Tensor]], routing: Routing):
        super().__init__()
        self.routing = routing
        keys, values = (torch.cat(part) for part in zip(*prepended))
        self.register_buffer("keys", keys)
        self.register_buffer("values", values)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, n, D / H]."""
        return self.keys[self.routing.index], self.values[self.routing.index]


class ClipsAdapter(nn.Module):
    """Every task's adapter of one place in one layer; each clip goes through its own.

    Args:
        adapters: of each task, of one width, bottleneck and scale.
    """

    def __init__(self, adapters: Sequence[Adapter], routing: Routing):
        super().__init__()
        self.routing, self.scale, self.residual = routing, adapters[0].scale, adapters[0].residual
        for name in ("down", "up"):
            linears = [getattr(adapter, name) for adapter in adapters]
            self.register_buffer(name, torch.stack([linear.weight.detach().T for linear in linears]))
            self.register_buffer(f"{name}_bias", torch.stack([linear.bias.detach() for linear in linears]))

    def forward(self, u: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        i = self.routing.index
        hidden = F.relu(torch.baddbmm(self.down_bias[i][:, None], u, self.down[i]))  # [B, T, r]
        a = self.scale * torch.baddbmm(self.up_bias[i][:, None], hidden, self.up[i])
        return u + a if self.residual else a


class MultiTask(nn.Module):
    """Tasks that share a backbone, for inference.

    Args:
        model: of one of the tasks; its backbone is taken over and cannot be trained further.
        states: what each task trained, by the task's name: prompts, prefixes and adapters of the model's
            sizes, and a head of any number of classes.

    Raises:
        ValueError: no task; a method that changes the backbone itself; a state that does not fit the
            model's method, see ``load_exactly``.
    """

    def __init__(self, model: Classifier, states: Mapping[str, Mapping[str, Tensor]]):
        super().__init__()
        if not states:
            raise ValueError("no task is given; expected at least one name and its trained tensors")
        others = [name for name in trainable_parameters(model) if not name.startswith((*INSERTED, HEAD))]
        if others:
            raise ValueError(
                f"the model trains {name_some(others)}, which lies inside the backbone that tasks share; "
                "expected a method that inserts: prompts, prefixes or adapters, or linear"
            )
        model = model.eval()
        model.head.requires_grad_(True)  # of a loaded model it is not: it would not count as a task's
        self.front_end, self.backbone, self.routing = model.front_end, model.backbone, Routing()
        self.names, self.heads = list(states), nn.ModuleList()
        layers = tuned_layers(model)
        prepended, adapters = [[] for _ in layers], [{} for _ in layers]
        own = {f"{HEAD}{name}": tensor for name, tensor in model.head.state_dict().items()}
        for name, state in states.items():
            head = {key.removeprefix(HEAD): t for key, t in state.items() if key.startswith(HEAD)}
            self.heads.append(new_head(model, head, name))
            tuning = {key: tensor for key, tensor in state.items() if not key.startswith(HEAD)}
            load_trainable_state(model, tuning | own, f"task {name!r}")
            with torch.no_grad():
                for i, layer in enumerate(layers):
                    prepended[i].append(layer.prepended())
                    for place in ("adapter", "attention_adapter"):
                        if getattr(layer, place) is not None:
                            adapters[i].setdefault(place, []).append(copy.deepcopy(getattr(layer, place)))
        for layer, parts, places in zip(layers, prepended, adapters):
            if parts[0] is not None:
                layer.given_prepended = ClipsPrepended(parts, self.routing)
                layer.prompt = layer.prefix = None
            for place, several in places.items():
                setattr(layer, place, ClipsAdapter(several, self.routing))
        self.requires_grad_(False)

    def forward(self, waveform: Tensor, num_samples: Tensor, tasks: Sequence[str]) -> list[Tensor]:
        """[B, N] samples, [B] true lengths, B names of tasks -> for each clip [S, C], C that of its task.

        Raises:
            ValueError: an unknown task, or not one a clip.
        """
        unknown = sorted(set(tasks) - set(self.names))
        if unknown or len(tasks) != len(waveform):
            raise ValueError(
                f"{len(tasks)} tasks for {len(waveform)} clips, unknown among them: {unknown or 'none'}; "
                f"expected one of {', '.join(self.names)} for each clip"
            )
        index = torch.tensor([self.names.index(task) for task in tasks], device=waveform.device)
        x = self.front_end(waveform, num_samples)
        self.routing.index = index.repeat_interleave(self.front_end.num_segments)
        embeddings = self.backbone(x).unflatten(0, (len(index), -1))  # [B, S, E]
        logits = [torch.empty(0)] * len(index)
        for task in index.unique().tolist():
            clips = (index == task).nonzero()[:, 0].tolist()
            answers = self.heads[task](embeddings[clips].flatten(0, 1)).unflatten(0, (len(clips), -1))
            for clip, answer in zip(clips, answers):
                logits[clip] = answer
        return logits


def new_head(model: Classifier, tensors: Mapping[str, Tensor], task: str) -> nn.Module:
    """A task's head: of the model's kind, with the task's classes and tensors.

    Raises:
        ValueError: a missing or unexpected tensor, or one of another shape.
    """
    head = copy.deepcopy(model.head)
    if "fc.bias" in tensors:
        head.fc = linear(head.fc.in_features, len(tensors["fc.bias"])).to(head.fc.weight)
    load_exactly(head.state_dict(), tensors, f"the head of task {task!r}")
    return head.eval()
