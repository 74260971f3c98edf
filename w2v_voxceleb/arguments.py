"""wav2vec 2.0 on VoxCeleb1: 148,642 utterances of 1,211 speakers; 37,720 trials of other speakers."""

from ipet.arguments import lists, wav2vec2_arguments


def get_args(argv=None):
    """Every default below is this experiment's published setting."""
    # fmt: off
    return wav2vec2_arguments(
        argv, task="verification",
        **lists("voxceleb"), scoring="mean_distance",
        frame_length=300, nb_seg=5,  # frames of 10 ms; segments an utterance
        mixup=0.0, add_musan_rir=True,
        classification_loss="cce",  # among the training speakers
        embedding_prompt_num=64, adapter_hidden_dim=128,
        epoch=40, batch_size=64, lr=1e-3, lr_finetune=2.5e-5,
    )
    # fmt: on
