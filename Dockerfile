# IPET on NVIDIA GPUs. This file has never been built: no Docker was at hand where it was written. tests/test_docker.py
# reads it, and gives the commands of its image that need no GPU.
#
#   docker build -t ipet:0.1.0 .
#   docker run --rm --gpus all --ipc=host -v /data:/data:ro -v ipet-runs:/ipet/runs -v ipet-cache:/cache \
#       -w /ipet/ast_esc50 ipet:0.1.0 python main.py -name first -path_list /data/lists/esc50 -path_data /data/ESC-50-master
#
# --gpus needs the NVIDIA Container Toolkit on the host, and nothing of CUDA: torch's wheels hold its libraries.
# The readers of clips hand batches on in shared memory, of which a container has 64 MiB: --ipc=host, or --shm-size 8g.
# docs/docker.md says more. The documents are not in the image, nor are the tests.

ARG PYTHON=3.12
FROM python:${PYTHON}-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    HF_HOME=/cache/huggingface

# Whoever runs a training need not be root. Folders that become volumes belong to that user.
RUN useradd --create-home --uid 1000 ipet && mkdir -p /ipet/runs /cache/huggingface && chown -R ipet /ipet /cache
WORKDIR /ipet

# Some GB that stay in Docker's cache until a pinned version changes. libsndfile is in soundfile's wheel.
COPY requirements.txt ./
RUN python -m pip install -r requirements.txt

COPY --chown=ipet . .
RUN python -m pip install --no-deps -e .

USER ipet
# Runs, and what the Hugging Face hub gave; both outlive a container.
VOLUME ["/ipet/runs", "/cache"]
CMD ["ipet", "-h"]
