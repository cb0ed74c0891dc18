# densebone with Paddle, both toolkits and the engines.
#
#   docker build --target cpu -t densebone .
#   docker run --rm -v "$PWD:/work" densebone predict --model exported/birds pictures/
#   docker run --rm -v "$PWD:/work" -p 127.0.0.1:8000:8000 densebone serve exported/birds --host 0.0.0.0
#
# The image has no git: --build-arg DENSEBONE_VERSION=0.1.0 names the release.
# Files in /work belong to the user of the container, 1000. For another, add --user "$(id -u):$(id -g)".

FROM python:3.11-slim-bookworm AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
# what OpenCV and Paddle load; Debian removes old versions, so these cannot be pinned
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 libgomp1 \
    && rm -rf /var/lib/apt/lists/*
# HOME must be writable for any --user: PaddleDetection and matplotlib keep files there
RUN useradd --uid 1000 --create-home densebone && chmod 777 /home/densebone
ENV HOME=/home/densebone
COPY . /src

# On a GPU. Nobody has built or run this stage yet. docs/gpu.md says which index fits which card; then
#   docker build --target gpu -t densebone:gpu .
#   docker run --rm --gpus all --shm-size 8g densebone:gpu gpu-check
FROM base AS gpu
ARG PADDLE=3.2.2
ARG DENSEBONE_VERSION
ARG INDEX=https://www.paddlepaddle.org.cn/packages/stable/cu126/
RUN pip install --index-url "$INDEX" "paddlepaddle-gpu==$PADDLE" \
    && pip install --constraint /src/constraints.txt "/src[detection,segmentation,features,openvino,serve,completion]"
USER 1000
WORKDIR /work
ENTRYPOINT ["densebone"]
CMD ["--help"]

# The last stage is the default.
FROM base AS cpu
ARG PADDLE=3.2.2
ARG DENSEBONE_VERSION
RUN pip install --constraint /src/constraints.txt "paddlepaddle==$PADDLE" \
        "/src[detection,segmentation,features,openvino,serve,completion]"
USER 1000
WORKDIR /work
ENTRYPOINT ["densebone"]
CMD ["--help"]
