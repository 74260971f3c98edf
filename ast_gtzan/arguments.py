"""AST on GTZAN: 1,000 clips of 30 s, 10 genres, 10 folds."""

from ipet.arguments import ast_arguments, lists


def get_args(argv=None):
    """Every default below is this experiment's published setting."""
    # fmt: off
    return ast_arguments(
        argv,
        **lists("gtzan"), fold=10,
        frame_length=400, nb_seg=10, whole_periods=False,  # frames of 10 ms; segments a clip
        norm_mean=-2.37300301, norm_std=3.19099191,  # of the training log-mels
        freqm=48, timem=80, mixup=0.3,
        classification_loss="cce",
        embedding_prompt_num=8, adapter_hidden_dim=64,
        epoch=30, batch_size=32, lr=4.5e-3, lr_finetune=5e-5,
    )
    # fmt: on
