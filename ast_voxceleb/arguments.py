"""AST on VoxCeleb1: 148,642 utterances of 1,211 speakers; 37,720 trials of other speakers."""

from ipet.arguments import ast_arguments, lists


def get_args(argv=None):
    """Every default below is this experiment's published setting."""
    # fmt: off
    return ast_arguments(
        argv, task="verification",
        **lists("voxceleb"), scoring="mean_distance",
        frame_length=400, nb_seg=5,  # frames of 10 ms; segments an utterance
        norm_mean=-4.8955183, norm_std=4.2524743,  # of the training log-mels
        freqm=48, timem=80, mixup=0.0, add_noise=True,
        classification_loss="cce",  # among the training speakers
        embedding_prompt_num=4, adapter_hidden_dim=64,
        epoch=30, batch_size=32, lr=5e-4, lr_finetune=5e-5,
    )
    # fmt: on
