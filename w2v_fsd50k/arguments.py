"""wav2vec 2.0 on FSD50K: 51,197 clips, 200 classes, several a clip; train, valid and test lists."""

from ipet.arguments import lists, wav2vec2_arguments


def get_args(argv=None):
    """Every default below is this experiment's published setting."""
    # fmt: off
    return wav2vec2_arguments(
        argv,
        **lists("fsd50k"),
        frame_length=1024, mixup=0.5,  # frames of 10 ms
        classification_loss="bce", test_every_epoch=True,
        embedding_prompt_num=128, adapter_hidden_dim=64,
        epoch=40, batch_size=24, lr=5e-3, lr_finetune=5e-5,
    )
    # fmt: on
