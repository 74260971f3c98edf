"""wav2vec 2.0 on ESC-50: 2,000 clips of 5 s, 50 classes, 5 official folds."""

from ipet.arguments import lists, wav2vec2_arguments


def get_args(argv=None):
    """Every default below is this experiment's published setting."""
    # fmt: off
    return wav2vec2_arguments(
        argv,
        **lists("esc50"), fold=5,  # official folds
        frame_length=512, mixup=0.0,  # frames of 10 ms
        classification_loss="cce",
        embedding_prompt_num=128, adapter_hidden_dim=128,
        epoch=40, batch_size=48, lr=2.5e-3, lr_finetune=5e-5,
    )
    # fmt: on
