"""The learning rate of every step: the authors' steps, the cosine, the warm-up."""

import pytest

from ipet.backbones.wav2vec2 import build_wav2vec2
from ipet.features import Waveform
from ipet.heads import Classifier, LinearHead
from ipet.recipe import Recipe, learning_rate, new_optimizer
from ipet.schedule import cosine, step_decay, warm_up
from ipet.tuning import Tuning, trainable_parameters, tune

from helpers import rows, run_here, tiny, write_lists


def rates(epochs=4, epoch_steps=10, **schedule):
    recipe = Recipe(epochs, batch_size=1, lr=2.0, **schedule)
    return [learning_rate(recipe, step, epoch_steps) for step in range(epochs * epoch_steps)]


def test_the_authors_schedule_falls_between_two_epochs():
    factors = [step_decay(epoch, 0.85, start=5, end=26) for epoch in range(1, 31)]
    assert factors[:5] == [1.0] * 5
    assert factors[5:26] == pytest.approx([0.85**n for n in range(1, 22)])
    assert factors[26:] == [factors[25]] * 4


def test_the_authors_schedule_is_the_same_all_epoch_long():
    assert rates(gamma=0.5, decay_start=2) == [2.0] * 20 + [1.0] * 10 + [0.5] * 10


def test_the_cosine_ends_at_zero():
    found = rates(schedule="cosine")
    assert found[0] == 2.0 and found[20] == pytest.approx(1.0)
    assert found == sorted(found, reverse=True) and 0 < found[-1] < 0.01
    assert cosine(40, 40, 0) == 0


def test_the_warm_up_takes_parts_of_epochs():
    found = rates(schedule="cosine", warmup=0.5)
    assert found[:5] == pytest.approx([0.4, 0.8, 1.2, 1.6, 2.0])
    assert found[5] == 2.0 and max(found) == 2.0  # the cosine begins behind it
    assert rates(warmup=0.5, gamma=1.0) == pytest.approx(found[:5] + [2.0] * 35)
    assert warm_up(0, 0) == warm_up(0, 1) == 1.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"schedule": "linear"}, "schedule is 'linear'; accepted: step, cosine"),
        ({"warmup": 3.0}, "the warm-up takes 3 of 3 epochs; it must end before the training"),
        ({"warmup": -1.0}, "takes -1 of 3 epochs"),
    ],
)
def test_an_impossible_schedule_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Recipe(epochs=3, batch_size=1, lr=1.0, **wrong)


def test_a_run_follows_its_schedule(tmp_path):
    lists = write_lists(tmp_path / "lists", train_1=16, eval_1=4)
    flags = ["-frame_length", 32, "-batch_size", 4, "-lr", "1e-2", "-fold", 1, "-method", "linear"]
    flags += ["-lr_schedule", "cosine", "-warmup_epoch", 0.5, "-epoch", 2]
    folder = run_here("ast_esc50", *tiny(lists, tmp_path, *flags)) / "seed_1234/fold_1"
    expected = [1e-2 * warm_up(step, 2) * cosine(step, 8, 2) for step in range(8)]
    assert [row["lr"] for row in rows(folder, "step")] == pytest.approx(expected)
    assert [row["lr"] for row in rows(folder, "epoch")] == pytest.approx(expected[3::4])


@pytest.mark.parametrize("head_lr", [None, 0.3])
@pytest.mark.parametrize("prompt_lr", [None, 0.2])
def test_head_and_prompts_may_have_learning_rates_of_their_own(head_lr, prompt_lr):
    backbone = tune(build_wav2vec2("tiny"), Tuning(num_prompts=2, num_prefixes=1, bottleneck=4))
    model = Classifier(Waveform(40), backbone, LinearHead(backbone.width, 3))
    recipe = Recipe(epochs=1, batch_size=4, lr=0.1, head_lr=head_lr, prompt_lr=prompt_lr)
    found = {
        id(p): group["lr"] for group in new_optimizer(model, recipe).param_groups for p in group["params"]
    }
    named = trainable_parameters(model)
    assert len(found) == len(named)
    for name, parameter in named.items():
        own = {"head": head_lr, "prompts": prompt_lr, "prefixes": prompt_lr}.get(name.split(".")[0])
        assert found[id(parameter)] == (own or 0.1)
