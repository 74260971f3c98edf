"""wav2vec 2.0 on Speech Commands V2: 105,829 clips of 1 s, 35 words; train, valid and test lists."""

from ipet.arguments import lists, wav2vec2_arguments


def get_args(argv=None):
    """Every default below is this experiment's published setting."""
    # fmt: off
    return wav2vec2_arguments(
        argv,
        **lists("speechcommands"),
        frame_length=128, mixup=0.0,  # frames of 10 ms
        classification_loss="bce", test_every_epoch=True,
        embedding_prompt_num=64, adapter_hidden_dim=64,
        epoch=40, batch_size=64, lr=1e-3, lr_finetune=5e-5,
    )
    # fmt: on
