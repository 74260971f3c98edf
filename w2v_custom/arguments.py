"""wav2vec 2.0 on one's own recordings: folds or three lists, one label a clip or several."""

from ipet.arguments import own_lists, wav2vec2_arguments


def get_args(argv=None):
    """Starting points; folds and loss are those of the lists."""
    # fmt: off
    return wav2vec2_arguments(
        argv,
        **own_lists(argv),
        frame_length=200, mixup=0.0,  # frames of 10 ms
        embedding_prompt_num=64, adapter_hidden_dim=64,
        epoch=20, batch_size=16, lr=1e-3, lr_finetune=5e-5,
        lr_schedule="cosine", warmup_epoch=0.5,
    )
    # fmt: on
