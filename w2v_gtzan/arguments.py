"""wav2vec 2.0 on GTZAN: 1,000 clips of 30 s, 10 genres, 10 folds."""

from ipet.arguments import lists, wav2vec2_arguments


def get_args(argv=None):
    """Every default below is this experiment's published setting."""
    # fmt: off
    return wav2vec2_arguments(
        argv,
        **lists("gtzan"), fold=10,
        frame_length=400, nb_seg=10, whole_periods=False,  # frames of 10 ms; segments a clip
        mixup=0.3, classification_loss="cce",
        embedding_prompt_num=128, adapter_hidden_dim=64,
        epoch=40, batch_size=32, lr=5e-3, lr_finetune=2.5e-5,
    )
    # fmt: on
