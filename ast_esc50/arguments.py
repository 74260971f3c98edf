"""AST on ESC-50: 2,000 clips of 5 s, 50 classes, 5 official folds."""

from ipet.arguments import ast_arguments, lists


def get_args(argv=None):
    """Every default below is this experiment's published setting."""
    # fmt: off
    return ast_arguments(
        argv,
        **lists("esc50"), fold=5,  # official folds
        frame_length=512,  # frames of 10 ms
        norm_mean=-6.6268077, norm_std=5.358466,  # of the training log-mels
        freqm=24, timem=96, mixup=0.0,
        classification_loss="cce",
        embedding_prompt_num=4, adapter_hidden_dim=32,
        epoch=30, batch_size=48, lr=1e-3, lr_finetune=1e-5,
    )
    # fmt: on
