"""AST on FSD50K: 51,197 clips up to 30 s, 200 classes, several a clip; train, valid and test lists."""

from ipet.arguments import ast_arguments, lists


def get_args(argv=None):
    """Every default below is this experiment's published setting."""
    # fmt: off
    return ast_arguments(
        argv,
        **lists("fsd50k"),
        frame_length=1024,  # frames of 10 ms
        norm_mean=-2.94206, norm_std=4.810963,  # of the training log-mels
        freqm=48, timem=192, mixup=0.5,
        classification_loss="bce", test_every_epoch=True,
        embedding_prompt_num=32, adapter_hidden_dim=32,
        epoch=30, batch_size=24, lr=1e-3, lr_finetune=1e-5,
    )
    # fmt: on
