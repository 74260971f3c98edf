"""adapter_config.json from anybody: fields and sizes are checked before anything is built of them."""

import copy
import math

import pytest

from ipet.description import check_description, run_config
from ipet.metrics import d_prime

GOOD = {
    "peft_type": "IPET",
    "schema": 2,
    "kind": "run",
    "experiment": "ast_esc50",
    "labels": [{"mid": "/m/0", "name": "dog"}, {"mid": "/m/1", "name": "cat"}],
    "loss": "cce",
    "front_end": {
        "kind": "log_mel",
        "num_mels": 128,
        "num_frames": 512,
        "mean": -6.6,
        "std": 5.4,
        "window_ms": 25.0,
        "hop_ms": 10.0,
        "window": "hanning",
        "num_segments": 1,
        "whole_periods": True,
    },
    "cut": {"num_samples": 82_160, "crop": "first", "repeat": False, "zero_mean": True, "whole": False},
    "backbone": {"kind": "ast", "pretrained": "ast_small", "sha256": 64 * "0", "stride": [10, 10]},
    "tuning": {"method": "ipet", "num_prompts": 4, "bottleneck": 32, "scale": 0.1},
}
DELETED = object()


def changed(place, value):
    """The good description with another value at a place such as ``tuning.bottleneck``."""
    description = copy.deepcopy(GOOD)
    *above, name = place.split(".")
    part = description
    for key in above:
        part = part[int(key) if key.isdigit() else key]
    if value is DELETED:
        del part[name]
    else:
        part[int(name) if name.isdigit() else name] = value
    return description


def test_a_good_description_passes():
    check_description(GOOD, "adapter_config.json")
    check_description(
        changed("calibration", {"temperature": 1.5, "thresholds": [0.5, 0.25]}), "adapter_config.json"
    )


def test_the_adapter_of_a_perfect_ranking_is_one():
    """Its mAUC on the validation list is 1, d' infinite; where all clips have all classes both are NaN."""
    metrics = {"epoch": 3, "valid_mAUC": 1.0, "valid_d_prime": d_prime(1.0), "eval_mAUC": math.nan}
    assert math.isinf(metrics["valid_d_prime"])
    check_description(changed("metrics", metrics), "adapter.json")


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("schema", 3, "schema 3; this version reads 1 and 2"),
        ("schema", True, "schema True; this version reads 1 and 2"),
        ("peft_type", "LORA", "peft_type is 'LORA'; expected 'IPET'"),
        ("kind", "tuned", "ipet.save_tuned wrote it; it is read by ipet.load_tuned(model, folder)"),
        ("kind", {}, "kind is {}; expected 'run' or 'tuned'"),
        ("schema", [1] * 100, "schema [1, 1, 1, 1, 1, 1, 1, 1"),
        ("labels", [], "labels are []; expected a list with a class"),
        ("labels", DELETED, "labels are None; expected a list with a class"),
        ("labels.1", "cat", "labels[1] is 'cat'; expected mid, name"),
        ("labels.1.mid", DELETED, "labels[1] lacks 'mid'; expected text"),
        ("labels.1.name", "\x1b]0;cat\x07", "a text holds the control character \\x1b; expected one line"),
        ("experiment", "a\nb", "a text holds the control character \\n; expected one line"),
        ("loss", "mse", "loss is 'mse'; expected 'cce' or 'bce'"),
        ("tuning", 3, "tuning is 3; expected method"),
        (
            "tuning.num_prompts",
            10**12,
            "tuning.num_prompts is 1000000000000; expected a whole number from 1 to",
        ),
        ("tuning.num_prompts", 0, "tuning.num_prompts is 0; expected a whole number from 1 to 10,000"),
        ("tuning.bottleneck", -1, "tuning.bottleneck is -1; expected a whole number from 1 to 16,384"),
        ("tuning.bottleneck", True, "tuning.bottleneck is True; expected a whole number from 1 to 16,384"),
        ("tuning.scale", float("nan"), "tuning.scale is nan; expected a number from"),
        ("front_end.kind", "cochlea", "front_end.kind is 'cochlea'; expected 'log_mel' or 'waveform'"),
        ("front_end.num_frames", 10**9, "front_end.num_frames is 1000000000; expected a whole number from 1"),
        ("front_end.num_mels", 1e9, "front_end.num_mels is 1000000000.0; expected a whole number from 1 to"),
        (
            "front_end.num_segments",
            10_000,
            "10,000 segments of 512 frames of 400 samples; at most 1,073,741,824",
        ),
        ("front_end.variable_length", 1, "front_end.variable_length is 1; expected true or false"),
        ("cut.num_samples", 2**40, "cut.num_samples is 1099511627776; expected a whole number from 1 to"),
        ("cut.crop", "last", "cut.crop is 'last'; expected 'first' or 'centre' or 'random'"),
        ("backbone.pretrained", None, "backbone.pretrained is None; expected text"),
        ("backbone.stride", [0, 1], "backbone.stride is [0, 1]; expected two whole numbers above 0"),
        ("backbone.revision", "main", "backbone.revision is 'main'; expected a commit of 40 hexadecimal"),
        ("calibration", 1, "calibration is 1; expected names and values"),
        ("calibration", {"temperature": 0}, "calibration.temperature is 0; expected a number from 1e-06"),
        ("calibration", {"thresholds": [0.5]}, "calibration.thresholds is [0.5]; expected a probability for"),
        ("backbone.config", {"eps": float("inf")}, "holds the number inf; expected finite ones"),
        ("metrics", {"\x1b": 1.0}, "a text holds the control character \\x1b; expected one line"),
    ],
)
def test_what_is_wrong_is_named_with_what_was_found_and_what_is_accepted(place, value, said):
    with pytest.raises(ValueError) as caught:
        check_description(changed(place, value), "a/adapter_config.json")
    message = str(caught.value)
    assert message.startswith("a/adapter_config.json: ") and said in message and message.isprintable()
    assert len(message) < 300


def test_the_first_schema_is_checked_alike_and_gets_pefts_fields():
    first = {
        "schema": 1,
        **{name: v for name, v in GOOD.items() if name not in ("peft_type", "schema", "kind")},
    }
    check_description(first, "adapter.json")
    config = run_config(first)
    check_description(config, "adapter_config.json")
    assert config.items() >= GOOD.items() and first["schema"] == 1
    assert config["base_model_name_or_path"] == "ast_small" and config["revision"] is None
    with pytest.raises(ValueError, match=r"^a/adapter\.json: tuning\.num_prompts is 0"):
        check_description(first | {"tuning": {"method": "ipet", "num_prompts": 0}}, "a/adapter.json")


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, {"schema": 1}, {"schema": 2, "peft_type": "IPET"}])
def test_other_json_is_no_description(value):
    with pytest.raises(ValueError, match=r"^a/adapter_config\.json: "):
        check_description(value, "a/adapter_config.json")
