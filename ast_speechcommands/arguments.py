"""AST on Speech Commands V2: 105,829 clips of 1 s, 35 words; train, valid and test lists."""

from ipet.arguments import ast_arguments, lists


def get_args(argv=None):
    """Every default below is this experiment's published setting."""
    # fmt: off
    return ast_arguments(
        argv,
        **lists("speechcommands"),
        frame_length=128,  # frames of 10 ms
        norm_mean=-6.845978, norm_std=5.5654526,  # of the training log-mels
        freqm=48, timem=48, mixup=0.5, add_noise=True,
        classification_loss="bce", test_every_epoch=True,
        embedding_prompt_num=4, adapter_hidden_dim=128,
        epoch=30, batch_size=128, lr=5e-3, lr_finetune=2.5e-4,
    )
    # fmt: on
