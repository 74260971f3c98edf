"""AST on one's own recordings: folds or train, valid and test lists, one label a clip or several."""

from ipet.arguments import ast_arguments, own_lists


def get_args(argv=None):
    """Starting points; folds, loss and normalisation are those of the lists."""
    # fmt: off
    return ast_arguments(
        argv,
        **own_lists(argv, log_mels=True),
        frame_length=512,  # frames of 10 ms
        freqm=24, timem=48, mixup=0.0,
        embedding_prompt_num=4, adapter_hidden_dim=32,
        epoch=20, batch_size=16, lr=1e-3, lr_finetune=1e-5,
        lr_schedule="cosine", warmup_epoch=0.5,
    )
    # fmt: on
